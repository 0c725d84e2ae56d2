"""A map cut to the size of another."""

from torch import Tensor, nn


def crop(x: Tensor, like: Tensor, factor: int) -> Tensor:
    """The upper left of x[N,C,h,w], as large as each cell of like[N,any,H,W] as `factor` x `factor` -> [N,C,H',W'].

    H' is H * factor, W' is W * factor, and x is at least as large.
    """
    return x[:, :, : like.shape[2] * factor, : like.shape[3] * factor]


class Crop(nn.Module):
    """`crop` with its factor."""

    def __init__(self, factor: int = 1) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """See `crop`."""
        return crop(x, like, self.factor)
