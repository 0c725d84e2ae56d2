"""OpenVINO files: what they say about themselves, and weights of 16 bits."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino
import pytest

from d2deploy.artifact import Artifact, read_artifact
from d2deploy.backends import FORMATS
from d2deploy.backends.half_weights import with_half_weights
from d2deploy.errors import ArtifactError, ExportError
from d2deploy.models.build import Model
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import verify


def test_the_file_says_what_it_takes_and_finds(exported: Callable[[str], Artifact], model: Model) -> None:
    artifact = exported("openvino-tracing")
    graph = openvino.Core().read_model(artifact.file)
    spec = json.loads(graph.get_rt_info(["d2deploy", "spec"]).astype(str))
    assert spec == json.loads(json.dumps(dataclasses.asdict(model.spec)))
    assert spec["preprocess"]["channel_order"] == "BGR" and spec["preprocess"]["min_size"] > 0
    labels = graph.get_rt_info(["model_info", "labels"]).astype(str)
    assert labels.split() == list(model.spec.class_names) and len(labels.split()) == 8
    assert artifact.manifest.options == {"weights": "float32"}


def sizes_by_type(artifact: Artifact) -> dict[str, int]:
    """Type of number -> how many of them the file's constants have."""
    sizes: dict[str, int] = {}
    for node in openvino.Core().read_model(artifact.file).get_ops():
        if node.get_type_name() == "Constant":
            name = node.get_element_type().get_type_name()
            sizes[name] = sizes.get(name, 0) + node.data.size
    return sizes


def test_half_weights(graph_file: Any, network: Any) -> None:
    (model, half), (_, whole) = (graph_file("padded retinanet", f"openvino-{how}") for how in ("half", "tracing"))
    assert half.manifest.options == {"weights": "float16"}
    assert [spec.dtype for spec in half.spec.outputs] == [spec.dtype for spec in whole.spec.outputs]
    ours, theirs = sizes_by_type(half), sizes_by_type(whole)
    assert "f16" not in theirs and ours["f16"] > 0.97 * theirs["f32"]
    bytes_of = [(artifact.path / "model.bin").stat().st_size for artifact in (half, whole)]
    assert bytes_of[0] < 0.53 * bytes_of[1]
    # Nothing but the weights was rounded, and verify rounds those of the network.
    for source in (model, network("retinanet")):
        report = verify(half, against=source, images=demo_images())
        assert report.ok, str(report)
        assert report.total.pairs > 20
    assert not verify(whole, against=network("retinanet"), images=demo_images()).ok, "rounding is seen"


def test_a_network_with_rounded_weights(network: Any) -> None:
    model = network("retinanet")
    before = {name: weight.clone() for name, weight in model.core.state_dict().items()}
    rounded = with_half_weights(model)
    weights = [weight for weight in rounded.core.parameters() if weight.numel() >= 1024]
    assert len(weights) > 50 and all(weight.equal(weight.half().float()) for weight in weights)
    assert with_half_weights(rounded) is rounded
    assert all(weight.equal(before[name]) for name, weight in model.core.state_dict().items())


@pytest.mark.parametrize("format", [row.name for row in FORMATS.values() if "half_weights" not in row.contract])
def test_a_format_that_cannot(format: str, network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"{format} has no --half-weights. Formats that have it: openvino"):
        export(network("retinanet"), format, tmp_path / "out", half_weights=True)
    assert not (tmp_path / "out").exists()


def test_a_changed_weight_is_refused(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    """The weights lie in a file of their own."""
    folder = tmp_path / "openvino"
    shutil.copytree(exported("openvino-tracing").path, folder)
    weights = bytearray((folder / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "model.bin").write_bytes(weights)
    with pytest.raises(ArtifactError, match=r"model\.bin is not the file that was exported"):
        read_artifact(folder)
