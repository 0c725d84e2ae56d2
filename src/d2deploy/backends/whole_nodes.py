"""The ops of whole.py as single nodes of a graph, and the modules that hold them; see nodes.py.

Sizes of what comes out follow numbers in tensors: a capture is told only that there are such sizes.
"""

import torch
from torch import Tensor, nn

from d2deploy.ops.find_keypoints import FindKeypoints, find_keypoints
from d2deploy.ops.merge_panoptic import MergePanoptic, merge_panoptic
from d2deploy.ops.paste_masks import PasteMasks, paste_masks
from d2deploy.ops.resize_image import ResizeImage
from d2deploy.ops.resize_maps import ResizeMaps, resize_maps


@torch.library.custom_op("d2deploy::resize_image", mutates_args=())
def resize_image_node(image: Tensor, min_size: int, max_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """See ops/resize_image.py."""
    images, image_sizes, original_sizes = ResizeImage(min_size=min_size, max_size=max_size)(image)
    return images.contiguous(), image_sizes.clone(), original_sizes.clone()


@resize_image_node.register_fake
def _(image: Tensor, min_size: int, max_size: int) -> tuple[Tensor, Tensor, Tensor]:
    height, width = _free_sizes()
    sizes = image.new_empty([1, 2], dtype=torch.int64)
    return image.new_empty([1, image.shape[2], height, width], dtype=torch.float32), sizes, sizes.clone()


@torch.library.custom_op("d2deploy::paste_masks", mutates_args=())
def paste_masks_node(probs: Tensor, boxes: Tensor, original_sizes: Tensor, threshold: float) -> Tensor:
    """See ops/paste_masks.py."""
    return paste_masks(probs, boxes, original_sizes, threshold)


@paste_masks_node.register_fake
def _(probs: Tensor, boxes: Tensor, original_sizes: Tensor, threshold: float) -> Tensor:
    height, width = _free_sizes()
    return probs.new_empty([probs.shape[0], height, width], dtype=torch.bool)


@torch.library.custom_op("d2deploy::find_keypoints", mutates_args=())
def find_keypoints_node(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    """See ops/find_keypoints.py."""
    return find_keypoints(heatmaps, boxes)


@find_keypoints_node.register_fake
def _(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    return heatmaps.new_empty([heatmaps.shape[0], heatmaps.shape[1], 3])


@torch.library.custom_op("d2deploy::resize_maps", mutates_args=())
def resize_maps_node(maps: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    """See ops/resize_maps.py."""
    return resize_maps(maps, image_sizes, original_sizes)


@resize_maps_node.register_fake
def _(maps: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    height, width = _free_sizes()
    return maps.new_empty([maps.shape[0], maps.shape[1], height, width])


@torch.library.custom_op("d2deploy::merge_panoptic", mutates_args=())
def merge_panoptic_node(
    masks: Tensor,
    scores: Tensor,
    numbers: Tensor,
    labels: Tensor,
    *,
    overlap: float,
    stuff_area: int,
    score: float,
    num_labels: int,
) -> tuple[Tensor, Tensor]:
    """See ops/merge_panoptic.py."""
    return merge_panoptic(masks, scores, numbers, labels, overlap=overlap, stuff_area=stuff_area, score=score)


@merge_panoptic_node.register_fake
def _(
    masks: Tensor,
    scores: Tensor,
    numbers: Tensor,
    labels: Tensor,
    *,
    overlap: float,
    stuff_area: int,
    score: float,
    num_labels: int,
) -> tuple[Tensor, Tensor]:
    segments = torch.library.get_ctx().new_dynamic_size(min=0)
    return labels.new_empty(labels.shape, dtype=torch.int32), labels.new_empty([segments, 6])


def _free_sizes() -> tuple[torch.SymInt, torch.SymInt]:
    context = torch.library.get_ctx()
    return context.new_dynamic_size(min=1), context.new_dynamic_size(min=1)


class OpaqueResizeImage(nn.Module):
    """A ResizeImage that appears as one node."""

    def __init__(self, op: ResizeImage) -> None:
        super().__init__()
        self.min_size, self.max_size = op.min_size, op.max_size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ops/resize_image.py."""
        return resize_image_node(image, self.min_size, self.max_size)


class OpaquePasteMasks(nn.Module):
    """A PasteMasks that appears as one node."""

    def __init__(self, op: PasteMasks) -> None:
        super().__init__()
        self.threshold = op.threshold

    def forward(self, probs: Tensor, boxes: Tensor, original_sizes: Tensor) -> Tensor:
        """See ops/paste_masks.py."""
        return paste_masks_node(probs, boxes, original_sizes, self.threshold)


class OpaqueFindKeypoints(nn.Module):
    """A FindKeypoints that appears as one node."""

    def __init__(self, op: FindKeypoints) -> None:
        super().__init__()

    def forward(self, heatmaps: Tensor, boxes: Tensor) -> Tensor:
        """See ops/find_keypoints.py."""
        return find_keypoints_node(heatmaps, boxes)


class OpaqueResizeMaps(nn.Module):
    """A ResizeMaps that appears as one node."""

    def __init__(self, op: ResizeMaps) -> None:
        super().__init__()

    def forward(self, maps: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
        """See ops/resize_maps.py."""
        return resize_maps_node(maps, image_sizes, original_sizes)


class OpaqueMergePanoptic(nn.Module):
    """A MergePanoptic that appears as one node."""

    def __init__(self, op: MergePanoptic) -> None:
        super().__init__()
        self.overlap, self.stuff_area, self.score, self.num_labels = op.overlap, op.stuff_area, op.score, op.num_labels

    def forward(self, masks: Tensor, scores: Tensor, numbers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See ops/merge_panoptic.py."""
        return merge_panoptic_node(
            masks,
            scores,
            numbers,
            labels,
            overlap=self.overlap,
            stuff_area=self.stuff_area,
            score=self.score,
            num_labels=self.num_labels,
        )


WHOLE = {
    FindKeypoints: OpaqueFindKeypoints,
    MergePanoptic: OpaqueMergePanoptic,
    PasteMasks: OpaquePasteMasks,
    ResizeImage: OpaqueResizeImage,
    ResizeMaps: OpaqueResizeMaps,
}
"""Rows of capture.OPAQUE."""
