"""Which image of a batch is meant, and how it was resized."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Outputs = Mapping[str, np.ndarray]
"""A network's outputs by name, all images of a batch together."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One image of a batch."""

    input_size: tuple[int, int]  # (height, width) as the network saw it, before padding
    image_size: tuple[int, int]  # (height, width) of the original
    index: int = 0  # its place in the batch

    @property
    def scale(self) -> tuple[float, float]:
        """Original pixels per network-input pixel, along x and y."""
        return self.image_size[1] / self.input_size[1], self.image_size[0] / self.input_size[0]
