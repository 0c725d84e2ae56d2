"""Maps of the network's padded input to the size of the original images."""

import torch
from torch import Tensor, nn


def neighbours(cells: Tensor, pixels: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel `at` of an axis: the cells before and after its centre, int64, and how far it is on the way, 0..1.

    cells, pixels: sizes of the axis before and after, 0-d or broadcast. Borders are repeated.
    """
    position = ((at + 0.5) * (cells.float() / pixels) - 0.5).clamp(min=0)
    before = position.long().minimum(cells - 1)
    return before, (before + 1).minimum(cells - 1), position - before


def resize_maps(maps: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    """maps[N,C,h,w], of which image_sizes[N,2] is image -> [N,C,H,W]; H and W: the largest of original_sizes[N,2].

    Bilinear between pixel centres, without averaging, each image's own part to its own original size (detectron2
    modeling/postprocessing.py, sem_seg_postprocess); same as results/resize.py. Beyond an image's size: zero.
    """
    limits = original_sizes.amax(dim=0)
    height, width = int(limits[0]), int(limits[1])
    resized = torch.zeros([maps.shape[0], maps.shape[1], height, width], dtype=maps.dtype, device=maps.device)
    for i in range(maps.shape[0]):
        row = torch.arange(int(original_sizes[i, 0]), device=maps.device)
        column = torch.arange(int(original_sizes[i, 1]), device=maps.device)
        above, below, down = neighbours(image_sizes[i, 0], original_sizes[i, 0], row)
        left, right, along = neighbours(image_sizes[i, 1], original_sizes[i, 1], column)
        top, bottom = maps[i].index_select(1, above), maps[i].index_select(1, below)
        band = top + (bottom - top) * down[:, None]
        first, last = band.index_select(2, left), band.index_select(2, right)
        resized[i, :, : row.shape[0], : column.shape[0]] = first + (last - first) * along
    return resized


class ResizeMaps(nn.Module):
    """`resize_maps` as a module."""

    def forward(self, maps: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
        """See `resize_maps`."""
        return resize_maps(maps, image_sizes, original_sizes)
