"""The house keeps its shape: who may hold whom, how large a room may be, and that imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter

import pytest
from source import ROOT, circles, classes, functions, imports, modules, tree

ROOMS = ("learning", "intake", "erasure", "planning", "fronts", "graph.importers")
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS, MOST_ATTRIBUTES = 300, 60, 8, 12
# To be shortened, never to be added to.
TOO_MANY_PARAMETERS = {
    "edgecl.learner Learner.__init__",  # the front door: every one is a user's choice
    "edgecl.graph.importers.onnx from_onnx",  # as well
    "edgecl.learning.miro Miro._train",
    "edgecl.planning.setup make_setup",
}
BASES = {"Protocol", "NamedTuple", "Generic", "Configurable", "Exception", "ABC", "TypedDict"}


def in_rooms() -> dict[str, ast.Module]:
    top = ("edgecl.learner", "edgecl.run", "edgecl.life", "edgecl.saves", "edgecl.opening")
    rooms = tuple(f"edgecl.{room}." for room in ROOMS)
    return {name: tree(path) for name, path in modules().items() if name in top or name.startswith(rooms)}


def test_imports_point_one_way():
    known = modules()
    known.pop("edgecl")  # the front page, which names what is inside
    graph = {name: imports(name, path, set(known)) for name, path in known.items()}
    allowed = (is_registration, is_storage, is_lowering)
    assert [group for group in circles(graph) if not any(may(group) for may in allowed)] == []


def is_registration(group: list[str]) -> bool:
    """Operators register themselves with the registry that lists them."""
    return all(name.startswith(("edgecl.graph.ops", "edgecl.graph.registry")) for name in group)


def is_storage(group: list[str]) -> bool:
    """The store's chain of classes over one bag of attributes, left alone this season."""
    return all(name.startswith("edgecl.storage") for name in group)


def is_lowering(group: list[str]) -> bool:
    """The compiler's chain of classes over one program, left alone likewise."""
    return {name.rpartition(".")[2] for name in group} <= {"backward", "emitter", "forward", "tensors"}


def test_storage_knows_nothing_above_it():
    known = modules()
    for name, path in known.items():
        if name.startswith("edgecl.storage"):
            above = {m for m in imports(name, path, set(known)) if not m.startswith("edgecl.storage")}
            assert above <= {"edgecl"}, name


def test_the_engine_comes_without_the_rooms_above_it():
    """Whoever trains with the engine alone holds neither planner nor data, methods or plugins in RAM."""
    code = "import sys, edgecl.engine.native; print(*{m.split('.')[1] for m in sys.modules if m.startswith('edgecl.')})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd="/")
    below = {"_kernels", "compiler", "engine", "errors", "folders", "give_back", "graph", "registry", "storage"}
    assert set(done.stdout.split()) <= below


@pytest.mark.parametrize("front", ["edgecl.learner", "edgecl.run"])
def test_the_two_front_doors_are_short(front):
    assert len(modules()[front].read_text().splitlines()) <= MOST_LINES


def test_no_module_outside_them_takes_or_holds_a_learner_or_a_run():
    for name, path in modules().items():
        if name in ("edgecl", "edgecl.learner", "edgecl.run") or name.startswith("edgecl.service"):
            continue  # the daemon is a service that embeds a Learner, by its public names, as anybody's does
        above = name.startswith(("edgecl.commands", "edgecl.testing"))  # use them as anybody does
        above |= name == "edgecl.service.held"  # the one place of the service that calls a learner
        above |= name == "edgecl.fleet.simulated"  # a device made of one, by its public names
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and not above:
                assert not {a.name for a in node.names} & {"Learner", "Run"}, f"{name}:{node.lineno}"
            if isinstance(node, ast.arg) and node.annotation is not None and not above:
                named = {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)}
                assert not named & {"Learner", "Run"}, f"{name}:{node.lineno}"


def test_nobody_reaches_into_a_learner():
    for path in [*modules().values(), *(ROOT / "bench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        if path.name == "learner.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                assert not (private and node.value.id in ("learner", "ours", "again")), f"{path}:{node.lineno}"


def test_rooms_hold_short_files_and_functions():
    long, broad = {}, set()
    for name, module in in_rooms().items():
        lines = modules()[name].read_text().count("\n")
        if lines > MOST_LINES:
            long[name] = lines
        for function, node in functions(module):
            size = (node.end_lineno or 0) - node.lineno + 1
            if size > MOST_FUNCTION_LINES:
                long[f"{name} {function}"] = size
            a = node.args
            named = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs) if p.arg not in ("self", "cls")]
            if len(named) > MOST_PARAMETERS:
                broad.add(f"{name} {function}")
    assert long == {}
    assert broad == TOO_MANY_PARAMETERS


def test_parts_have_no_mixins_and_few_attributes():
    for name, module in in_rooms().items():
        for cls in classes(module):
            bases = [b.id if isinstance(b, ast.Name) else getattr(b, "attr", "") for b in cls.bases]
            assert len([b for b in bases if b not in BASES]) <= 1, f"{name} {cls.name}"
            for node in cls.body:
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    stored = {
                        t.attr
                        for t in ast.walk(node)
                        if isinstance(t, ast.Attribute) and isinstance(t.ctx, ast.Store)
                        and isinstance(t.value, ast.Name) and t.value.id == "self"
                    }
                    assert len(stored) <= MOST_ATTRIBUTES, f"{name} {cls.name}: {sorted(stored)}"


def test_helpers_of_the_tests_have_names_of_their_own():
    """Folders of tests share one path of imports: of two helpers of one name only the first would ever be found."""
    paths = [p for p in (ROOT / "tests").rglob("*.py") if not p.name.startswith("test_") and p.name != "conftest.py"]
    there = Counter(p.name for p in paths if p.name not in ("__init__.py", "__main__.py"))
    assert [name for name, count in there.items() if count > 1] == []
