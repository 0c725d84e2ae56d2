"""Paste each detection's M x M mask into its image."""

import torch
from torch import Tensor, nn


def axis_weights(start: Tensor, end: Tensor, pixels: int, cells: int) -> Tensor:
    """How much each of `cells` mask cells counts for each of `pixels` pixels, along one axis.

    start[D], end[D]: the boxes' sides, pixels -> [D,pixels,cells]. Bilinear between cell centres, zero beyond the
    mask: grid_sample with align_corners=False (detectron2 mask_ops.py).
    """
    pixel = torch.arange(pixels, dtype=start.dtype, device=start.device)
    cell = torch.arange(cells, dtype=start.dtype, device=start.device)
    position = (pixel[None, :] + 0.5 - start[:, None]) / (end - start)[:, None] * cells - 0.5
    return (1 - (position[:, :, None] - cell).abs()).clamp(min=0)


def paste_masks(probs: Tensor, boxes: Tensor, *, height: int, width: int, threshold: float) -> Tensor:
    """probs[D,M,M], boxes[D,4] pixels of a height x width image -> bool [D,height,width]: probability >= threshold.

    Bilinear weights factor into rows times columns, so pasting is two matrix products a mask. A box without area
    gives an empty mask. The whole image is computed for each mask; postprocess.py, outside any graph, computes the
    pixels around the box only.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    rows = axis_weights(y1, y2, height, probs.shape[1])
    columns = axis_weights(x1, x2, width, probs.shape[2])
    return rows @ probs @ columns.transpose(1, 2) >= threshold


class PasteMasks(nn.Module):
    """`paste_masks` with its constant."""

    def __init__(self, *, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, probs: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
        """See `paste_masks`."""
        return paste_masks(probs, boxes, height=height, width=width, threshold=self.threshold)
