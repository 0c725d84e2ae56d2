"""Resizing and post-processing inside the graph: what Predictor makes of it is what it makes of the network."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from artifacts import OF_ONE_GRAPH
from networks import inputs_of, with_score_threshold
from other_device import run_elsewhere
from stand_ins import WHOLE

from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS, Contract, check_contract
from d2deploy.backends.capture import quiet, sample_inputs
from d2deploy.backends.variants import variant
from d2deploy.backends.whole import whole
from d2deploy.errors import ArtifactError, ExportError, ImageError
from d2deploy.image import read_image
from d2deploy.models.build import Model
from d2deploy.predictor import Predictor
from d2deploy.results import Instances, PanopticResult
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import Sample, demo_images
from d2deploy.workflows.verify import Budget, verify

# A mask of random weights is noise, all border: see tests/matrix/test_matrix.py.
BUDGET = Budget(mask_iou=0.95)
PICTURES = [read_image(file) for file in demo_images()]
PORTRAIT = next(p for p in PICTURES if p.shape[0] > p.shape[1])
LANDSCAPE = next(p for p in PICTURES if p.shape[0] < p.shape[1])
# Sizes that no capture has seen, the last two as one batch where the graph takes batches.
SAMPLES = [
    Sample("portrait", (PORTRAIT,)),
    Sample("one pixel wide", (PORTRAIT[:, 40:41].copy(),)),
    Sample("batch", (LANDSCAPE, PORTRAIT[:120])),
]
BOTH: dict[str, Any] = {"include_preprocess": True, "include_postprocess": True}
# Families of which a graph cannot hold both.
ONE: dict[str, dict[str, Any]] = {
    "given proposals": {"include_postprocess": True},
    "panoptic deeplab": {"include_preprocess": True},
    "dense pose": {"include_preprocess": True},
    "dense pose, meshes": {"include_preprocess": True},
}
NO_LISTS = ("semantic", "panoptic deeplab")
# That can be made to find nothing in one image and something in others; random weights of others find as much in each.
CAN_FIND_NOTHING = ("mask", "dc5", "panoptic")


def check(artifact: Any, model: Model, *, pairs: int = 20) -> None:
    report = verify(artifact, against=model, images=SAMPLES, budget=BUDGET)
    assert report.ok, str(report)
    assert report.total.pairs > pairs


def that_can_find_nothing(model: Model) -> tuple[Model, np.ndarray]:
    """`model` with a score threshold, and an image of one colour in which it finds nothing just because of it."""
    pictures = [np.full((*size, 3), level, np.uint8) for size in ((1, 1), (16, 1), (24, 24)) for level in (0, 110)]
    with Predictor(with_score_threshold(model, 0.0)) as predictor:
        best = [float(instances_of(predictor(picture)).scores.max(initial=0)) for picture in pictures]
    return with_score_threshold(model, min(best) + 0.01), pictures[int(np.argmin(best))]


@pytest.fixture(scope="module")
def case(network: Any) -> Callable[[str], tuple[Model, np.ndarray | None]]:
    """Function: family -> its network, and an image in which that finds nothing, or None where it always does."""

    @cache
    def make(family: str) -> tuple[Model, np.ndarray | None]:
        return that_can_find_nothing(network(family)) if family in CAN_FIND_NOTHING else (network(family), None)

    return make


def instances_of(found: Any) -> Instances:
    instances = found.instances if isinstance(found, PanopticResult) else found
    assert isinstance(instances, Instances)
    return instances


def check_nothing(found: Any, model: Model, size: tuple[int, ...]) -> None:
    instances, specs = instances_of(found), {tensor.name: tensor for tensor in model.spec.outputs}
    assert len(instances) == 0
    if "mask_probs" in specs:
        assert instances.pred_masks is not None and instances.pred_masks.shape == (0, *size)
    if points := specs.get("keypoint_heatmaps"):
        assert instances.pred_keypoints is not None and instances.pred_keypoints.shape == (0, points.shape[1], 3)
    if isinstance(found, PanopticResult):
        assert all(not segment.is_thing for segment in found.segments)
        assert found.panoptic_seg.shape == size


def check_elsewhere(artifact: Artifact) -> None:
    """All that the file makes is made where its inputs are."""
    with quiet():
        module = torch.jit.load(str(artifact.file))
    outputs = run_elsewhere(module, sample_inputs(artifact.spec))
    assert [str(output.dtype) for output in outputs] == [f"torch.{spec.dtype}" for spec in artifact.spec.outputs]


@pytest.mark.parametrize("method", FORMATS["torchscript"].methods)
@pytest.mark.parametrize("family", WHOLE)
def test_every_kind_of_network(family: str, method: str, case: Any, tmp_path: Path) -> None:
    contract = ONE.get(family, BOTH)
    model, empty = case(family)
    artifact = export(model, "torchscript", tmp_path / "ts", method=method, verify=False, **contract)
    check(artifact, model, pairs=5 if family in NO_LISTS else 20)
    assert artifact.spec.includes_preprocess == contract.get("include_preprocess", False)
    assert artifact.spec.includes_postprocess == contract.get("include_postprocess", False)
    if empty is not None:
        with Predictor(artifact) as predictor:
            check_nothing(predictor(empty), model, empty.shape[:2])
    check_elsewhere(artifact)


@pytest.mark.parametrize("option", BOTH)
def test_either_alone(option: str, network: Any, tmp_path: Path) -> None:
    model = network("panoptic")
    contract: dict[str, Any] = {option: True}
    artifact = export(model, "torchscript", tmp_path / "ts", verify=False, **contract)
    check(artifact, model)
    names = [tensor.name for tensor in artifact.spec.inputs]
    assert names == (["image"] if option == "include_preprocess" else ["images", "image_sizes", "original_sizes"])


# Masks, labels, segments from an image; keypoints.
IN_ONNX = [(name, kind) for name in ("whole panoptic", "finished keypoint") for kind in OF_ONE_GRAPH]


@pytest.mark.parametrize(("name", "kind"), IN_ONNX)
def test_in_standard_operators(name: str, kind: str, graph_file: Any) -> None:
    model, artifact = graph_file(name, kind)
    check(artifact, model)
    with Predictor(artifact.with_thresholds(score=2.0)) as predictor:
        check_nothing(predictor(PORTRAIT), model, PORTRAIT.shape[:2])


def test_a_batch_of_different_sizes_shares_one_canvas(network: Any) -> None:
    """masks[D,H,W] of images of different sizes: H and W are the largest, beyond its own image a mask is empty."""
    model = network("panoptic")
    made = whole(model, preprocess=False, postprocess=True)
    originals = torch.tensor([[60, 200], [100, 80]])
    images = torch.from_numpy(inputs_of(model, [(96, 128), (96, 128)], proposals=0)[0])
    outputs = made.core(images, torch.tensor([[96, 128], [90, 70]]), originals)
    found = {tensor.name: array for tensor, array in zip(made.spec.outputs, outputs, strict=True)}
    assert found["masks"].shape[1:] == (100, 200) == found["labels"].shape[1:] == found["panoptic_seg"].shape[1:]
    for mask, image in zip(found["masks"], found["image_index"].tolist(), strict=True):
        height, width = originals[image].tolist()
        assert not mask[height:].any() and not mask[:, width:].any()
    assert found["masks"].any(dim=2).any(dim=1).sum() > 10


def test_the_image_comes_in_the_order_that_the_network_takes(network: Any) -> None:
    """Who has no code of ours reads channel_order in the manifest; Predictor always takes BGR."""
    model = network("retinanet")
    rule = dataclasses.replace(model.spec.preprocess, channel_order="RGB")
    in_rgb = dataclasses.replace(model, spec=dataclasses.replace(model.spec, preprocess=rule))
    made = whole(in_rgb, preprocess=True, postprocess=True)
    with Predictor(_Variant(made)) as predictor, Predictor(in_rgb) as network_itself:
        ours, theirs = predictor(PORTRAIT), network_itself(PORTRAIT)
    np.testing.assert_allclose(ours.pred_boxes, theirs.pred_boxes, atol=1e-3)
    boxes, *_ = made.core(torch.from_numpy(PORTRAIT[:, :, ::-1].copy()))
    np.testing.assert_array_equal(boxes.numpy(), ours.pred_boxes)


class _Variant:
    """A variant as something that can be run."""

    format = "eager"

    def __init__(self, made: Any) -> None:
        self.core, self.spec = made.core, made.spec


def test_spec_is_what_comes_out(network: Any) -> None:
    for family in ("panoptic", "keypoint", "given proposals", "proposals", "semantic", "rotated"):
        model = network(family)
        made = whole(model, preprocess=False, postprocess=True)
        arrays = inputs_of(model, [(64, 96), (40, 50)], proposals=7)
        outputs = open_runner(_Variant(made))(*arrays, np.array([[33, 44], [20, 60]]))
        for tensor, array in zip(made.spec.outputs, outputs, strict=True):
            assert array.dtype == tensor.dtype and array.ndim == len(tensor.shape), tensor
            for size, named in zip(array.shape, tensor.shape, strict=True):
                assert size == named or isinstance(named, str), tensor


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "panoptic deeplab": (BOTH, "Panoptic-DeepLab is not in the graph"),
    "dense pose": (BOTH, "DensePose's surfaces, each of its box's size, are not in the graph"),
    "given proposals": ({"include_preprocess": True}, "takes proposals"),
}


@pytest.mark.parametrize("family", REFUSED)
def test_what_a_graph_cannot_hold_is_refused(family: str, network: Any, tmp_path: Path) -> None:
    contract, message = REFUSED[family]
    with pytest.raises(ExportError, match=message):
        export(network(family), "torchscript", tmp_path / "ts", **contract)
    assert not (tmp_path / "ts").exists()


def test_contracts_that_contradict_each_other() -> None:
    for option in BOTH:
        contract: dict[str, Any] = {option: True}
        with pytest.raises(ExportError, match="--outputs padded is for runtimes of one shape"):
            check_contract(FORMATS["onnx"], Contract(outputs="padded", **contract))
        with pytest.raises(ExportError, match=f"no --{option.replace('_', '-')}. Formats that have it: torchscript"):
            check_contract(FORMATS["caffe2"], Contract(**contract))


def test_proposals_for_a_model_that_takes_none(network: Any) -> None:
    made = whole(network("retinanet"), preprocess=True, postprocess=True)
    with Predictor(_Variant(made)) as predictor, pytest.raises(ImageError, match="takes no proposals"):
        predictor(PORTRAIT, proposals=np.zeros((1, 4)))


def test_other_inputs_than_the_manifest_allows(network: Any) -> None:
    made = whole(network("retinanet"), preprocess=True, postprocess=True)
    made = dataclasses.replace(made, spec=dataclasses.replace(made.spec, includes_preprocess=False))
    with pytest.raises(ArtifactError, match="has the inputs image; it must take images, image_sizes, original_sizes"):
        Predictor(_Variant(made))


def test_one_variant_for_all_formats(network: Any) -> None:
    model = network("retinanet")
    assert variant(model, Contract(**BOTH)) is variant(model, Contract(**BOTH))
    assert variant(model, Contract(include_preprocess=True)) is not variant(model, Contract(**BOTH))
