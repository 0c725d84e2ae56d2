"""Paste each detection's M x M mask into its image."""

import torch
from torch import Tensor, nn


def axis_weights(start: Tensor, end: Tensor, first: int, last: int, *, cells: int) -> Tensor:
    """How much each of `cells` mask cells counts for each of the pixels first..last-1, along one axis.

    start, end: the box's sides, pixels, 0-d -> [last-first,cells]. Bilinear between cell centres, zero beyond the mask:
    grid_sample with align_corners=False (detectron2 mask_ops.py).
    """
    pixel = torch.arange(first, last, dtype=start.dtype, device=start.device)
    cell = torch.arange(cells, dtype=start.dtype, device=start.device)
    position = (pixel + 0.5 - start) / (end - start) * cells - 0.5
    return (1 - (position[:, None] - cell).abs()).clamp(min=0)


def paste_masks(probs: Tensor, boxes: Tensor, original_sizes: Tensor, threshold: float) -> Tensor:
    """probs[D,M,M], boxes[D,4] pixels of the original images, original_sizes[N,2] -> bool [D,H,W]: at or above it.

    H and W: the largest of original_sizes. Bilinear weights factor into rows times columns, so pasting is two matrix
    products a mask. What lies outside a box is false: falling off to zero from at most 1, it stays below a half. So is
    a box without area.
    """
    limits = original_sizes.amax(dim=0)
    height, width = int(limits[0]), int(limits[1])
    masks = torch.zeros([boxes.shape[0], height, width], dtype=torch.bool, device=boxes.device)
    low, high = boxes[:, :2].floor().clamp(min=0).long(), boxes[:, 2:].ceil().minimum(limits.flip(0)).long()
    for i in range(boxes.shape[0]):
        left, top, right, bottom = int(low[i, 0]), int(low[i, 1]), int(high[i, 0]), int(high[i, 1])
        if left < right and top < bottom:
            rows = axis_weights(boxes[i, 1], boxes[i, 3], top, bottom, cells=probs.shape[1])
            columns = axis_weights(boxes[i, 0], boxes[i, 2], left, right, cells=probs.shape[2])
            masks[i, top:bottom, left:right] = rows @ probs[i] @ columns.transpose(0, 1) >= threshold
    return masks


class PasteMasks(nn.Module):
    """`paste_masks` with its constant."""

    def __init__(self, *, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, probs: Tensor, boxes: Tensor, original_sizes: Tensor) -> Tensor:
        """See `paste_masks`."""
        return paste_masks(probs, boxes, original_sizes, self.threshold)
