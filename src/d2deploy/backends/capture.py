"""From a core to something a format can be written from: op swaps, a sample, an exported graph.

A captured graph holds `d2deploy::<op>` nodes where the core had a leaf module of d2deploy.ops: the leaf is swapped in a
copy of the core. Neither the core nor any function is changed.
"""

import copy
import dataclasses
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec
from d2deploy.backends.nodes import (
    crop_node,
    deform_sample_node,
    labelled_nms_node,
    nms_node,
    pad_to_least_node,
    pad_to_multiple_node,
    point_sample_node,
    relative_bias_node,
    roi_align_node,
    roi_align_rotated_node,
    roi_pool_node,
)
from d2deploy.backends.whole_nodes import WHOLE
from d2deploy.ops.crop import Crop
from d2deploy.ops.deform_sample import DeformSample
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.least_size import PadToLeast
from d2deploy.ops.mask_windows import MaskWindows, windows_of
from d2deploy.ops.nms import NMS
from d2deploy.ops.point_sample import PointSample
from d2deploy.ops.position import RelativeBias
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.ops.roi_align import RoIAlign
from d2deploy.ops.roi_align_rotated import RoIAlignRotated
from d2deploy.ops.roi_pool import RoIPool
from d2deploy.ops.score_threshold import ScoreThreshold


class Exportable(Protocol):
    """What a backend needs of a model."""

    @property
    def core(self) -> nn.Module:
        """Tensors in, tensors out, in evaluation mode."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """Names of inputs and outputs, pre-processing, classes."""
        ...

    @property
    def source(self) -> dict[str, str]:
        """Which config and weights it was made from."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A model whose core was changed in a copy. Weights are shared with the original."""

    core: nn.Module
    spec: ModelSpec
    source: dict[str, str]


def sample_inputs(spec: ModelSpec) -> tuple[Tensor, ...]:
    """Two different images, so that nothing is fixed to one: images[2,C,H,W], image_sizes[2,2].

    Where the network takes proposals: proposal_boxes[2,5,4] and num_proposals[2], not as many in both. With what is
    before or after it inside: image[H,W,3]; original_sizes[2,2].
    """
    # Panoptic-DeepLab pads to multiples of 640: four times that would take minutes, and gigabytes.
    side = min(max(spec.preprocess.size_divisor, 1) * 4, 256)
    random = torch.Generator().manual_seed(0)
    channels = len(spec.preprocess.pixel_mean)
    corners = torch.rand((2, 5, 2, 2), generator=random).sort(dim=2).values
    made = {
        "images": torch.rand((2, channels, side, side + side // 2), generator=random) * 255,
        "image_sizes": torch.tensor([[side, side + side // 2], [side - 1, side // 2]]),
        "proposal_boxes": corners.flatten(2) * (side // 2),
        "num_proposals": torch.tensor([5, 3]),
        "image": torch.randint(256, (96, 128, 3), generator=random, dtype=torch.uint8),
        "original_sizes": torch.tensor([[side // 2, side], [side, side - 1]]),
        "score_threshold": torch.tensor(0.05),
        "nms_threshold": torch.tensor(0.5),
    }
    return tuple(made[tensor.name] for tensor in spec.inputs)


def free_axes(spec: ModelSpec) -> tuple[dict[int, Any], ...]:
    """Of each input the axes whose size is not fixed, as torch.export wants to be told."""
    return tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in spec.inputs
    )


Twins = Mapping[type[nn.Module], Callable[[Any], nn.Module]]


def swapped(core: nn.Module, twins: Twins, *, keep_aliases: bool = False) -> nn.Module:
    """A copy of `core` in which each leaf of a type in `twins` is replaced. Weights are shared with the original.

    Aliases (models/alias.py) become plain attributes, unless they are to be kept: they would give each weight a second
    name in a graph.
    """
    memo = {id(tensor): tensor for tensor in [*core.parameters(), *core.buffers()]}
    return _swap(copy.deepcopy(core, memo), twins, keep_aliases)


def _swap(module: nn.Module, twins: Twins, keep_aliases: bool) -> nn.Module:
    for name, child in list(module.named_children()):
        if getattr(child, "is_alias", False):
            if not keep_aliases:
                delattr(module, name)
                object.__setattr__(module, name, list(child.children()))
        elif twin := twins.get(type(child)):
            setattr(module, name, twin(child))
        else:
            _swap(child, twins, keep_aliases)
    return module


def fold_norms(core: nn.Module) -> nn.Module:
    """Batch norms multiplied into the convolutions before them, in place: the same function, and fewer nodes.

    torch.export could not take them all anyway: on a C4 model's boxes, whose number it does not know, it asks whether
    there are any before it lets a batch norm run.
    """
    for module in list(core.modules()):
        # Inside the convolution, or beside it (models/regnet.py).
        if isinstance(module, nn.Conv2d) and _fold(module, getattr(module, "norm", None)):
            module.norm = None  # type: ignore[assignment]
        for conv, norm in getattr(module, "norm_beside", {}).items():
            if _fold(getattr(module, conv, None), getattr(module, norm, None)):
                setattr(module, norm, nn.Identity())
    return core


def _fold(conv: Any, norm: Any) -> bool:
    """Multiply a batch norm into the convolution before it; whether there are both."""
    if conv is None or not hasattr(norm, "running_var"):
        return False
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    before = 0 if conv.bias is None else conv.bias.double()
    bias = norm.bias.double() + (before - norm.running_mean.double()) * scale
    weight = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    return True


class OpaqueNMS(nn.Module):
    """An NMS that appears as one node."""

    iou_threshold: Tensor

    def __init__(self, op: NMS) -> None:
        super().__init__()
        self.register_buffer("iou_threshold", torch.tensor(op.iou_threshold))
        self.max_out = op.max_out

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """See ops/nms.py."""
        return nms_node(boxes, scores, self.iou_threshold, self.max_out)


class OpaqueLabelledNMS(nn.Module):
    """A LabelledNMS that appears as one node."""

    iou_threshold: Tensor

    def __init__(self, op: LabelledNMS) -> None:
        super().__init__()
        self.register_buffer("iou_threshold", torch.tensor(op.iou_threshold))
        self.max_out, self.num_classes = op.max_out, op.num_classes

    def forward(self, boxes: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
        """See ops/labelled_nms.py."""
        return labelled_nms_node(
            boxes,
            scores,
            classes,
            self.iou_threshold,
            max_out=self.max_out,
            num_classes=self.num_classes,
        )


class TensorThreshold(nn.Module):
    """A ScoreThreshold that is a tensor."""

    threshold: Tensor

    def __init__(self, op: ScoreThreshold) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(op.threshold))

    def forward(self, scores: Tensor) -> Tensor:
        """See ops/score_threshold.py."""
        return scores.masked_fill(~(scores > self.threshold), float("-inf"))


class OpaqueRoIAlign(nn.Module):
    """A RoIAlign that appears as one node."""

    def __init__(self, op: RoIAlign) -> None:
        super().__init__()
        self.scales, self.size, self.sampling_ratio, self.aligned = op.scales, op.size, op.sampling_ratio, op.aligned

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See ops/roi_align.py."""
        return roi_align_node(
            features, boxes, image_index, levels, self.scales, self.size, self.sampling_ratio, self.aligned
        )


class OpaqueRoIAlignRotated(nn.Module):
    """A RoIAlignRotated that appears as one node."""

    def __init__(self, op: RoIAlignRotated) -> None:
        super().__init__()
        self.scales, self.size, self.sampling_ratio = op.scales, op.size, op.sampling_ratio

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See ops/roi_align_rotated.py."""
        return roi_align_rotated_node(features, boxes, image_index, levels, self.scales, self.size, self.sampling_ratio)


class OpaqueRoIPool(nn.Module):
    """A RoIPool that appears as one node."""

    def __init__(self, op: RoIPool) -> None:
        super().__init__()
        self.scales, self.size = op.scales, op.size

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See ops/roi_pool.py."""
        return roi_pool_node(features, boxes, image_index, levels, self.scales, self.size)


class OpaquePrepareImages(nn.Module):
    """A PrepareImages whose last step, padding to a multiple, appears as one node; a square has a known size."""

    def __init__(self, op: PrepareImages) -> None:
        super().__init__()
        self.normalise = PrepareImages(
            mean=tuple(op.mean), std=tuple(op.std), size_divisor=1, square_size=op.square_size
        )
        self.size_divisor, self.square_size = op.size_divisor, op.square_size

    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """See ops/prepare_images.py."""
        prepared = self.normalise(images, image_sizes)
        return prepared if self.square_size else pad_to_multiple_node(prepared, self.size_divisor)


class OpaquePadToLeast(nn.Module):
    """A PadToLeast that appears as one node."""

    def __init__(self, op: PadToLeast) -> None:
        super().__init__()
        self.least = op.least

    def forward(self, images: Tensor) -> Tensor:
        """See ops/least_size.py."""
        return pad_to_least_node(images, self.least)


class OpaqueCrop(nn.Module):
    """A Crop that appears as one node."""

    def __init__(self, op: Crop) -> None:
        super().__init__()
        self.factor = op.factor

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """See ops/crop.py."""
        return crop_node(x, like, self.factor)


class OpaqueDeformSample(nn.Module):
    """A DeformSample that appears as one node: the fifty that it is of would be a third of a deep network."""

    def __init__(self, op: DeformSample) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = op.kernel, op.stride, op.padding
        self.dilation, self.groups = op.dilation, op.groups

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """See ops/deform_sample.py."""
        return deform_sample_node(
            x,
            offset,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class OpaquePointSample(nn.Module):
    """A PointSample that appears as one node."""

    def __init__(self, op: PointSample) -> None:
        super().__init__()

    def forward(self, features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
        """See ops/point_sample.py."""
        return point_sample_node(features, points, image_index)


class OpaqueRelativeBias(nn.Module):
    """A RelativeBias that appears as one node: its forty would double the time that a deep network's export takes."""

    def __init__(self, op: RelativeBias) -> None:
        super().__init__()
        self.more_queries = op.more_queries

    def forward(self, q: Tensor, k: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """See ops/position.py."""
        return relative_bias_node(q, k, rows, columns, more_queries=self.more_queries)


class EveryMaskWindow(nn.Module):
    """A MaskWindows that reads the windows of all rows: torch.export cannot follow how many those are that count."""

    def __init__(self, op: MaskWindows) -> None:
        super().__init__()
        self.constants: dict[str, Any] = {"factor": op.factor, "beyond": op.beyond, "is_aligned": op.is_aligned}

    def forward(self, maps: Tensor, level: Tensor, cells: tuple[Tensor, Tensor], among: Tensor) -> Tensor:
        """See ops/mask_windows.py."""
        return windows_of(maps, level, cells, **self.constants)


OPAQUE: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    Crop: OpaqueCrop,
    NMS: OpaqueNMS,
    DeformSample: OpaqueDeformSample,
    LabelledNMS: OpaqueLabelledNMS,
    MaskWindows: EveryMaskWindow,
    PadToLeast: OpaquePadToLeast,
    PointSample: OpaquePointSample,
    RelativeBias: OpaqueRelativeBias,
    RoIAlign: OpaqueRoIAlign,
    RoIAlignRotated: OpaqueRoIAlignRotated,
    RoIPool: OpaqueRoIPool,
    PrepareImages: OpaquePrepareImages,
    ScoreThreshold: TensorThreshold,
    **WHOLE,
}


def exported_program(model: Exportable) -> torch.export.ExportedProgram:
    """The core as torch.export's graph, with d2deploy:: nodes; N, H and W free, the number of detections unknown."""
    axes = free_axes(model.spec)
    with quiet():
        return torch.export.export(
            fold_norms(swapped(model.core, OPAQUE)),
            sample_inputs(model.spec),
            dynamic_shapes=(axes,) if model.spec.takes_thresholds else axes,  # thresholds.py: *inputs
            strict=False,
        )


@contextmanager
def quiet() -> Any:
    """Without the capturing tools' own warnings: deprecations and notes that a user can do nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
