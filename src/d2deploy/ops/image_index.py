"""The number of its image for each row of a batched tensor."""

import torch
from torch import Tensor, nn


def image_index(rows: Tensor) -> Tensor:
    """rows[N,P,...] -> int64 [N,P], 0..N-1 along the first axis."""
    return torch.arange(rows.shape[0], device=rows.device)[:, None].expand(-1, rows.shape[1])


class ImageIndex(nn.Module):
    """`image_index` as a module."""

    def forward(self, rows: Tensor) -> Tensor:
        """See `image_index`."""
        return image_index(rows)
