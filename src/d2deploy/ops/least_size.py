"""Images of at least some size, for backbones whose coarsest level a smaller one would leave without a cell."""

from torch import Tensor, nn


def pad_to_least(images: Tensor, least: int) -> Tensor:
    """images[N,C,H,W] with zeros below and to the right, where H or W is below `least`, up to it.

    That is what becomes of a small image in a batch with a larger one.
    """
    height, width = images.shape[2], images.shape[3]
    return nn.functional.pad(images, [0, max(least - width, 0), 0, max(least - height, 0)])


class PadToLeast(nn.Module):
    """`pad_to_least` with its size."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least

    def forward(self, images: Tensor) -> Tensor:
        """See `pad_to_least`."""
        return pad_to_least(images, self.least)
