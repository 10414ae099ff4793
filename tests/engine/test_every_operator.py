"""Every operator of the registry alone in a network, at random shapes, equals the float64 reference: on each engine,
forward, the gradient of its inputs (through what made them) and of its parameters.
"""

import sys
from pathlib import Path

import pytest
from engine_kinds import ENGINES, kind_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
from operator_cases import cases

from edgecl.graph import operators
from edgecl.testing.operator_network import difference_alone

NAMES = sorted(set(operators()) - {"normalise", "dropout"})  # those stand in every graph, or draw at random
FEW = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_an_operator_alone_equals_its_float64_reference(kind, name):
    kind_engine(kind)

    @FEW
    @given(st.data())
    def check(data):
        case = data.draw(cases(name))
        assert difference_alone(case.entry, case, kind) == ""

    check()
