"""TorchScript as detectron2's own exporter gives it, so that C++ code that was written for that can load our file.

Facts: detectron2 tools/deploy/export_model.py and torchscript_mask_rcnn.cpp, export/flatten.py (02b5c4e2). Traced: one
image in, a tuple out, detectron2's fields in the order of the alphabet and the image's size. Scripted: a tuple of one
dict with "image" in, as there, or a list of several; a list of dicts of tensors out. Neither resizes nor knows another
size than the image's: "height" and "width" are not looked at.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.backends.capture import Exportable, swapped
from d2deploy.errors import ExportError
from d2deploy.ops import LEAVES
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.rescale_boxes import rescale_boxes
from d2deploy.runner import check_arrays

FIELDS = {
    "boxes": "pred_boxes",
    "classes": "pred_classes",
    "keypoint_heatmaps": "pred_keypoint_heatmaps",
    "mask_probs": "pred_masks",
    "scores": "scores",
}
"""The core's output -> detectron2's field, these in the order of the alphabet."""
KEYPOINTS = "pred_keypoints"  # made of the heat maps, and next to them in the alphabet


def like_detectron2(model: Exportable, method: str) -> tuple[Any, ModelSpec]:
    """The torch.jit module, and the spec of its runner. method: "tracing" or "scripting".

    Raises ExportError for a network that detectron2 itself exports in no such form.
    """
    unknown = [tensor.name for tensor in model.spec.outputs if tensor.name not in {*FIELDS, "image_index"}]
    if len(model.spec.inputs) > 2 or unknown:
        which = f" that gives {', '.join(unknown)}" if unknown else " that takes proposals"
        raise ExportError(
            f"--signature detectron2: for a {model.spec.meta_architecture}{which} detectron2's exporter has none. It "
            f"is for detectors of boxes, masks and keypoints that make their own proposals. Leave the option out."
        )
    return _METHODS[method](model), _spec(model.spec, method)


def _spec(spec: ModelSpec, method: str) -> ModelSpec:
    """A traced module has no batches."""
    if method != "tracing":
        return spec
    inputs = [dataclasses.replace(tensor, shape=(1, *tensor.shape[1:])) for tensor in spec.inputs]
    return dataclasses.replace(spec, inputs=tuple(inputs))


def _trace(model: Exportable) -> Any:
    # What is no GeneralizedRCNN goes through detectron2's post-processing there, at the size that the image has.
    is_clipped = model.spec.meta_architecture != "GeneralizedRCNN"
    traced = Traced(model.core, model.spec, is_clipped=is_clipped).eval()
    image = torch.rand((len(model.spec.preprocess.pixel_mean), 192, 256), generator=torch.Generator().manual_seed(0))
    leaves = swapped(traced, dict.fromkeys((*LEAVES, OneImage), torch.jit.script))
    return torch.jit.trace(leaves, (image * 255,), check_trace=False, strict=False)


def _script(model: Exportable) -> Any:
    return torch.jit.script(Scripted(model.core, model.spec).eval())


_METHODS = {"tracing": _trace, "scripting": _script}


class OneImage(nn.Module):
    """An image as a batch, on the device and in the type of another tensor; scripted, it remembers neither."""

    def forward(self, image: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """image[C,H,W] -> images[1,C,H,W], image_sizes[1,2] int64."""
        return image[None].to(like), torch.tensor([[image.shape[1], image.shape[2]]], device=like.device)


class Fields(nn.Module):
    """A core's outputs as detectron2's fields."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        places = {tensor.name: place for place, tensor in enumerate(spec.outputs)}
        given = [name for name in FIELDS if name in places]
        self.boxes = places["boxes"]
        self.places = [places[name] for name in given]
        self.is_masks = [name == "mask_probs" for name in given]
        self.is_heatmaps = [name == "keypoint_heatmaps" for name in given]
        self.find_keypoints = FindKeypoints()
        self.names: list[str] = [
            field
            for name in given
            for field in ([FIELDS[name], KEYPOINTS] if name == "keypoint_heatmaps" else [FIELDS[name]])
        ]

    def forward(self, outputs: list[Tensor]) -> list[Tensor]:
        """The core's outputs -> `names`, all images' rows together; masks are [D,1,M,M]."""
        fields: list[Tensor] = []
        for i in range(len(self.places)):
            x = outputs[self.places[i]]
            fields.append(x[:, None] if self.is_masks[i] else x)
            if self.is_heatmaps[i]:
                fields.append(self.find_keypoints(x, outputs[self.boxes]))
        return fields


class Traced(nn.Module):
    """image[C,H,W], raw and of any type -> the fields of `Fields.names`, and image_size[2] int64."""

    pixel_mean: Tensor

    def __init__(self, core: nn.Module, spec: ModelSpec, *, is_clipped: bool) -> None:
        super().__init__()
        self.core, self.fields, self.one_image = core, Fields(spec), OneImage()
        self.is_clipped = is_clipped
        # The callers look for the first buffer to know where the model is; detectron2's models always have this one.
        self.register_buffer("pixel_mean", torch.tensor(spec.preprocess.pixel_mean))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        images, size = self.one_image(image, self.pixel_mean)
        fields = self.fields(self.core(images, size))
        if self.is_clipped:
            boxes, rows = rescale_boxes(
                fields[0], torch.ones_like(fields[0][:, :2]), size.expand(fields[0].shape[0], -1)
            )
            fields = [boxes[rows], *(field[rows] for field in fields[1:])]
        return (*fields, size[0])


class Scripted(nn.Module):
    """({"image": [C,H,W]},), or a list of such dicts -> for each a dict of the fields of `Fields.names`."""

    pixel_mean: Tensor

    def __init__(self, core: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.core, self.fields = core, Fields(spec)
        self.image_index = next(i for i, tensor in enumerate(spec.outputs) if tensor.name == "image_index")
        self.register_buffer("pixel_mean", torch.tensor(spec.preprocess.pixel_mean))

    def forward(self, inputs: tuple[dict[str, Tensor]] | list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """See the class."""
        images: list[Tensor] = []
        if torch.jit.isinstance(inputs, list[dict[str, Tensor]]):
            for one in inputs:
                images.append(one["image"].to(self.pixel_mean))
        else:
            assert torch.jit.isinstance(inputs, tuple[dict[str, Tensor]])
            images.append(inputs[0]["image"].to(self.pixel_mean))
        sizes = torch.tensor([[image.shape[1], image.shape[2]] for image in images], device=self.pixel_mean.device)
        height, width = int(sizes[:, 0].max()), int(sizes[:, 1].max())
        canvas = torch.zeros([len(images), images[0].shape[0], height, width], device=self.pixel_mean.device)
        for i, image in enumerate(images):
            canvas[i, :, : image.shape[1], : image.shape[2]] = image
        outputs = self.core(canvas, sizes)
        fields = self.fields(outputs)
        found: list[dict[str, Tensor]] = []
        for i in range(len(images)):
            rows = (outputs[self.image_index] == i).nonzero()[:, 0]
            one_image: dict[str, Tensor] = {}
            for name, field in zip(self.fields.names, fields):
                one_image[name] = field[rows]
            found.append(one_image)
        return found


class SignatureRunner:
    """Runs such a module as if it were a core: numpy in, numpy out; image by image where it is traced."""

    def __init__(self, module: Any, spec: ModelSpec, *, method: str, device: str) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._call: Callable[[list[Tensor]], list[dict[str, Tensor]]] | None = CALLS[method](module, spec)
        self._device = device

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`."""
        if self._call is None:
            raise ValueError("this runner is closed")
        check_arrays(self.inputs, arrays)
        images = [
            torch.from_numpy(image[:, :height, :width]).to(self._device)
            for image, (height, width) in zip(arrays[0], arrays[1].tolist())
        ]
        with torch.inference_mode():
            found = self._call(images)
        return tuple(self._output(tensor.name, found) for tensor in self.outputs)

    def close(self) -> None:
        """Let the network go."""
        self._call = None

    def _output(self, name: str, found: list[dict[str, Tensor]]) -> np.ndarray:
        if name == "image_index":
            return np.repeat(np.arange(len(found)), [len(one["scores"]) for one in found])
        rows = torch.cat([one[FIELDS[name]] for one in found]).cpu().numpy()
        return rows[:, 0] if name == "mask_probs" else rows


def _call_traced(module: Any, spec: ModelSpec) -> Callable[[list[Tensor]], list[dict[str, Tensor]]]:
    names = Fields(spec).names
    return lambda images: [dict(zip(names, module(image))) for image in images]


def _call_scripted(module: Any, spec: ModelSpec) -> Callable[[list[Tensor]], list[dict[str, Tensor]]]:
    return lambda images: module([{"image": image} for image in images])


CALLS = {"tracing": _call_traced, "scripting": _call_scripted}
