"""TorchScript files to be called as detectron2's own: what callers of those rely on, and that the answers are right."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import BATCHES, inputs_of
from other_device import Elsewhere, moved, on_other_device
from torch import Tensor

from d2deploy.artifact import Artifact
from d2deploy.backends.signature import FIELDS
from d2deploy.errors import ExportError, InputError
from d2deploy.models.build import Model
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import Sample, demo_images
from d2deploy.workflows.verify import Budget, verify

METHODS = ("tracing", "scripting")
BOXES = ["pred_boxes", "pred_classes"]
# Family -> detectron2's fields, in the order of the alphabet as its flattened Instances are (export/flatten.py). Which
# there are is all that a family changes here; "dc5" has each of them, so it stands for all of R-CNN's, and "retinanet"
# for those that detectron2 post-processes.
EXPORTED = {
    "dc5": [*BOXES, "pred_keypoint_heatmaps", "pred_keypoints", "pred_masks", "scores"],
    "retinanet": [*BOXES, "scores"],
}
# Noise of float32 in whatever adds up in another order. Mask logits are 64 times those of a usual small network (GAINS
# in networks.py), and the sigmoid's slope is a quarter at most. In float64 a batch and a single image are equal to the
# last digit of 1e-15; in float32 logits of up to 1600 differ by 0.04, both as far from float64's as from each other.
NOISE = dict.fromkeys(("pred_boxes", "pred_keypoints", "pred_keypoint_heatmaps", "scores"), 1e-3)
NOISE |= {"pred_classes": 0, "pred_masks": 64 * 1e-3 / 4}


def exported(model: Model, method: str, folder: Path) -> Artifact:
    return export(model, "torchscript", folder / method, method=method, signature="detectron2", verify=False)


@pytest.fixture(scope="module")
def made(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Model, Artifact]]:
    """Function: family, method -> its network and its file, made once."""

    @cache
    def make(family: str, method: str) -> tuple[Model, Artifact]:
        return network(family), exported(network(family), method, tmp_path_factory.mktemp(method))

    return make


def image_and_answer(model: Model, height: int, width: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Noise, and the core's outputs for it."""
    image = torch.rand((3, height, width), generator=torch.Generator().manual_seed(height)) * 255
    with torch.inference_mode():
        outputs = model.core(image[None], torch.tensor([[height, width]]))
    return image, {tensor.name: output for tensor, output in zip(model.spec.outputs, outputs, strict=True)}


@pytest.mark.parametrize("family", EXPORTED)
def test_a_traced_model_takes_an_image_and_gives_a_tuple(family: str, made: Any) -> None:
    model, artifact = made(family, "tracing")
    module, names = torch.jit.load(str(artifact.file)), EXPORTED[family]
    assert sorted(names) == names
    for size in ((96, 128), (70, 101), (64, 1)):
        image, expected = image_and_answer(model, *size)
        answer = module(image)
        assert isinstance(answer, tuple) and len(answer) == len(names) + 1
        assert answer[-1].tolist() == list(size) and answer[-1].dtype == torch.int64
        check(dict(zip(names, answer, strict=False)), expected, is_clipped=family == "retinanet", size=size)


@pytest.mark.parametrize("family", EXPORTED)
def test_a_scripted_model_takes_dicts_and_gives_dicts(family: str, made: Any) -> None:
    model, artifact = made(family, "scripting")
    module, names = torch.jit.load(str(artifact.file)), EXPORTED[family]
    answers = []
    for size in ((96, 128), (70, 101)):
        image, expected = image_and_answer(model, *size)
        # Their C++ sample gives a tuple of one dict; a list is what the Python model takes.
        (answer,) = module(({"image": image},))
        assert sorted(answer) == names
        check(answer, expected, is_clipped=False, size=size)
        (again,) = module([{"image": image, "height": torch.tensor(480), "width": torch.tensor(640)}])
        assert all(torch.equal(again[name], answer[name]) for name in names)
        answers.append((image, answer))
    both = module([{"image": image} for image, _ in answers])
    assert [sorted(answer) for answer in both] == [names, names]
    for name in names:
        torch.testing.assert_close(both[0][name], answers[0][1][name], atol=NOISE[name], rtol=1e-4)


def check(answer: dict[str, Tensor], expected: dict[str, Tensor], *, is_clipped: bool, size: tuple[int, int]) -> None:
    if is_clipped:
        height, width = size
        clipped = expected["boxes"].clamp(min=0).minimum(torch.tensor([width, height, width, height]).float())
        has_area = (clipped[:, 2:] > clipped[:, :2]).all(1)
        expected = {name: output[has_area] for name, output in {**expected, "boxes": clipped}.items()}
    assert len(expected["scores"]) > (3 if min(size) > 1 else -1)
    for name, field in FIELDS.items():
        if name in expected:
            theirs = expected[name][:, None] if name == "mask_probs" else expected[name]
            assert answer[field].dtype == theirs.dtype
            torch.testing.assert_close(answer[field], theirs, atol=1e-4, rtol=1e-4)
    if "pred_keypoints" in answer:
        points, boxes = answer["pred_keypoints"], answer["pred_boxes"]
        assert points.shape == (len(boxes), expected["keypoint_heatmaps"].shape[1], 3)
        inside = (points[:, :, :2] >= boxes[:, None, :2] - 1) & (points[:, :, :2] <= boxes[:, None, 2:] + 1)
        assert inside.all()


@pytest.mark.parametrize("method", METHODS)
def test_what_their_callers_rely_on(method: str, network: Any, tmp_path: Path) -> None:
    """A buffer that says where the model is, also where no norm has one; whole numbers for pixels; no device inside."""
    module = torch.jit.load(str(exported(network("layer norm"), method, tmp_path).file))
    assert [name for name, _ in module.named_buffers()][:1] == ["pixel_mean"]
    image = torch.full((3, 64, 96), 127, dtype=torch.uint8)
    for given in (image, image.float()):
        answer = module(given) if method == "tracing" else module(({"image": given},))
        assert answer
    check_elsewhere(module, method, image)


def check_elsewhere(module: Any, method: str, image: Tensor) -> None:
    """No device is written into the file, and all that it makes is made where the model is, wherever the image is."""
    assert not re.findall(r"Device = prim::Constant\[value=", str(module.inlined_graph))
    inputs = (image,) if method == "tracing" else (({"image": image},),)
    with on_other_device():
        answer = moved(module)(*inputs)
    tensors = answer if method == "tracing" else answer[0].values()
    assert all(isinstance(tensor, Elsewhere) for tensor in tensors)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", EXPORTED)
def test_predictor_runs_it(family: str, method: str, made: Any) -> None:
    model, artifact = made(family, method)
    assert artifact.manifest.options == {"method": method, "signature": "detectron2"}
    images: list[Any] = [*demo_images()[:1], Sample("batch", tuple(demo_images()[1:3]))]
    report = verify(artifact, against=model, images=images, budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20
    runner = open_runner(artifact)
    sizes = BATCHES["one" if method == "tracing" else "three"]
    arrays = inputs_of(model, sizes, proposals=0)
    outputs = dict(zip((tensor.name for tensor in runner.outputs), runner(*arrays), strict=True))
    assert len(set(outputs["image_index"].tolist())) >= min(len(sizes), 2)
    assert outputs["image_index"].dtype == np.int64
    assert len(outputs["boxes"]) == len(outputs["image_index"])
    with pytest.raises(InputError, match=r"image_sizes was int64\[2\]"):
        runner(arrays[0], arrays[1][0])
    runner.close()
    with pytest.raises(ValueError, match="closed"):
        runner(*arrays)


@pytest.mark.parametrize("family", ["semantic", "panoptic", "proposals", "given proposals", "dense pose"])
def test_what_detectron2_does_not_export(family: str, network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"--signature detectron2: for .* Leave the option out"):
        exported(network(family), "tracing", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("onnx", {"signature": "detectron2"}, "onnx has no --signature. Formats that have it: torchscript"),
        ("torchscript", {"signature": "caffe2"}, "no signature 'caffe2'. Signatures: d2deploy, detectron2"),
        ("torchscript", {"signature": "detectron2", "outputs": "padded"}, "Leave out the other options that do"),
    ],
)
def test_refused(format: str, options: dict[str, str], message: str, network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=re.escape(message)):
        export(network("retinanet"), format, tmp_path / "out", **options)  # type: ignore[arg-type]
