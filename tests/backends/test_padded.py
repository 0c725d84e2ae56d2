"""The padded form of every family: the rows of the ragged one, in as many slots for each image."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from networks import BATCHES, inputs_of

from d2deploy.artifact import COUNTS
from d2deploy.backends import Contract
from d2deploy.backends.capture import quiet, swapped
from d2deploy.backends.padded import padded
from d2deploy.backends.variants import variant
from d2deploy.errors import ExportError
from d2deploy.ops import LEAVES
from d2deploy.ops.found import Found
from d2deploy.postprocess import to_ragged
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify

MAPS = ("deeplab v3", "panoptic deeplab", "semantic")
# One of each kind of core: norms and widths make no difference here. Heads work on slots without a box, so each kind
# of head is here: "dc5" has the usual box, mask and keypoint heads, which "mask" and "keypoint" have, too.
KINDS = (
    *("dc5", "cascade", "point rend", "implicit", "c4", "retinanet", "fcos", "panoptic", "pooled by the largest"),
    *("proposals", "given proposals", "rotated", "dense pose, meshes"),
)
# Scripted and traced, too: what the padded form adds to a core is one op and one wrapper, another where proposals are
# given. "panoptic" has maps beside the rows.
CAPTURED = ("dc5", "panoptic", "given proposals")


def named(spec: Any, tensors: Any) -> dict[str, np.ndarray]:
    return {tensor.name: np.asarray(array) for tensor, array in zip(spec.outputs, tensors, strict=True)}


@pytest.mark.parametrize("family", KINDS)
def test_the_same_rows_in_slots(family: str, network: Any) -> None:
    model = network(family)
    made = padded(model)
    sample = tuple(map(torch.from_numpy, inputs_of(model, [(64, 96), (40, 50)], proposals=7)))
    found = 0
    with torch.inference_mode(), quiet():
        cores = [made.core]
        if family in CAPTURED:
            with_leaves = swapped(made.core, dict.fromkeys(LEAVES, torch.jit.script))
            traced = torch.jit.trace(with_leaves, sample, check_trace=False, strict=False)
            cores += [torch.jit.script(made.core), traced]
        for sizes in BATCHES.values():
            arrays = inputs_of(model, sizes, proposals=40)
            inputs = tuple(map(torch.from_numpy, arrays))
            expected = named(model.spec, model.core(*inputs))
            for core in cores:
                outputs = named(made.spec, core(*inputs))
                check_slots(outputs, made.spec, images=len(sizes))
                ragged = to_ragged(outputs)
                assert ragged.keys() == expected.keys()
                for name, array in expected.items():
                    assert (ragged[name].shape, ragged[name].dtype) == (array.shape, array.dtype)
                    # A convolution of more rows may add up in another order.
                    np.testing.assert_allclose(ragged[name], array, atol=1e-4, rtol=1e-4)
            found += len(expected["image_index"])
    assert found > 60


def check_slots(outputs: dict[str, np.ndarray], spec: Any, *, images: int) -> None:
    """Shapes are those of the spec, and what is no detection is 0."""
    (counts,) = (array for name, array in outputs.items() if name in COUNTS.values())
    for tensor in spec.outputs:
        array = outputs[tensor.name]
        if tensor.name == "vertex_embeddings":
            assert array.shape == tensor.shape
            continue
        assert array.dtype == tensor.dtype and array.shape[0] == images
        if tensor.name not in ("sem_seg", *COUNTS.values()):
            assert array.shape == (images, *tensor.shape[1:])
            for rows, count in zip(array, counts, strict=True):
                assert not rows[count:].any()


@pytest.mark.parametrize("family", MAPS)
def test_maps_are_refused(family: str, network: Any) -> None:
    with pytest.raises(ExportError, match=r"--outputs padded means nothing for .*Leave the option out"):
        padded(network(family))


def test_an_unknown_number_is_refused(network: Any) -> None:
    model = network("proposals")
    (place,) = (module for module in model.core.modules() if isinstance(module, Found))
    known, place.max_out = place.max_out, 0
    try:
        with pytest.raises(ExportError, match="largest number of proposals"):
            padded(model)
    finally:
        place.max_out = known


def test_a_form_that_there_is_not_is_refused(network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no form of outputs 'fixed'\. Forms: ragged, padded"):
        export(network("proposals"), "torchscript", tmp_path / "out", outputs="fixed")


def test_the_network_is_not_changed(network: Any) -> None:
    model = network("keypoint")
    before = [(name, type(module)) for name, module in model.core.named_modules()]
    made = padded(model)
    assert [(name, type(module)) for name, module in model.core.named_modules()] == before
    weights = {tensor.data_ptr() for tensor in model.core.parameters()}
    assert {tensor.data_ptr() for tensor in made.core.parameters()} == weights
    contract = Contract(outputs="padded")
    assert variant(model, contract) is variant(model, contract) and variant(model, Contract()) is model


FILES = [
    ("padded cascade", "onnx-tracing"),
    ("padded retinanet", "onnx-tracing"),
    ("padded retinanet", "openvino-tracing"),
]


@pytest.mark.parametrize(("name", "kind"), FILES)
def test_a_graph_is_the_network(name: str, kind: str, graph_file: Any) -> None:
    model, artifact = graph_file(name, kind)
    check_export(artifact, model)
    if artifact.format == "onnx":
        check_graph(onnx.load(artifact.file), artifact.spec)


def test_torchscript_is_the_network(network: Any, tmp_path: Path) -> None:
    artifact = export(network("panoptic"), "torchscript", tmp_path / "out", outputs="padded", verify=False)
    check_export(artifact, network("panoptic"))


def check_export(artifact: Any, model: Any) -> None:
    """Compared with the ragged network, by what both say about images; and its shapes are what the manifest says."""
    report = verify(artifact, against=model, images=demo_images(), budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20
    runner = open_runner(artifact)
    thresholds = [np.float32(model.spec.thresholds.score), np.float32(model.spec.thresholds.nms)]
    more = list(map(np.array, thresholds)) if artifact.spec.takes_thresholds else []
    for sizes in BATCHES.values():
        outputs = runner(*inputs_of(model, sizes, proposals=0), *more)
        check_slots(named(artifact.spec, outputs), artifact.spec, images=len(sizes))


def check_graph(proto: Any, spec: Any) -> None:
    """Only N, H and W are free, and no operator's shape follows the data but NMS's."""
    shapes = {
        v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in proto.graph.output
    }
    assert shapes == {tensor.name: tensor.shape for tensor in spec.outputs}
    assert {size for shape in shapes.values() for size in shape if isinstance(size, str)} == {"N"}
    operators = {node.op_type for node in proto.graph.node}
    assert "NonMaxSuppression" in operators
    assert not operators & {"NonZero", "Unique", "Compress", "Loop", "If"}
