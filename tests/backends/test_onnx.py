"""What an ONNX file must be: standard operators, free axes, each weight once, runnable without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from d2deploy.artifact import Artifact
from d2deploy.models.build import Model

WITHOUT_TORCH = """
import sys
from collections.abc import Callable
sys.modules["torch"] = None
from d2deploy import Predictor
with Predictor(sys.argv[1]) as predictor:
    instances = predictor(sys.argv[2])
assert len(instances) > 5 and instances.pred_masks.any()
assert not any(name.partition(".")[0] in ("onnx", "onnxscript") for name in sys.modules)
"""


@pytest.fixture
def onnx_artifact(exported: Callable[[str], Artifact]) -> Artifact:
    return exported("onnx-tracing")


@pytest.fixture
def proto(onnx_artifact: Artifact) -> onnx.ModelProto:
    return onnx.load(onnx_artifact.file)


def test_checker_and_operators(proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 18)]
    assert {node.domain for node in proto.graph.node} == {""} and not proto.functions


def test_names_and_free_axes(proto: onnx.ModelProto, model: Model) -> None:
    for values, specs in ((proto.graph.input, model.spec.inputs), (proto.graph.output, model.spec.outputs)):
        found = {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
        assert found == {spec.name: spec.shape for spec in specs}


def test_each_weight_once(proto: onnx.ModelProto, onnx_artifact: Artifact, model: Model) -> None:
    sizes = [len(tensor.raw_data) for tensor in proto.graph.initializer]
    big = [tensor.raw_data for tensor in proto.graph.initializer if len(tensor.raw_data) > 1000]
    assert len(big) == len(set(big))
    weights = sum(tensor.nbytes for tensor in model.core.state_dict().values())
    assert sum(sizes) <= weights
    assert onnx_artifact.file.stat().st_size <= 1.05 * weights
    assert any(tensor.name.startswith("roi_heads.box_head.fc1") for tensor in proto.graph.initializer)


def test_nothing_of_this_machine_inside(onnx_artifact: Artifact) -> None:
    assert str(Path(__file__).parents[2]).encode() not in onnx_artifact.file.read_bytes()


def test_it_says_what_it_is(proto: onnx.ModelProto) -> None:
    described = json.loads({prop.key: prop.value for prop in proto.metadata_props}["d2deploy"])
    assert described["class_names"][0] == "circle" and described["preprocess"]["min_size"] == 192


def test_runs_without_torch(onnx_artifact: Artifact, golden: Path) -> None:
    image = golden / "shapes" / "val" / "000045.jpg"
    command = [sys.executable, "-c", WITHOUT_TORCH, str(onnx_artifact.path), str(image)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
