"""Networks from elsewhere and back, by the doors that a user has."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("edgecl._kernels")
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))  # foreign_nets
