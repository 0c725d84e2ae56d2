"""How an image becomes the network's input."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Input:
    """How an image becomes the network's input (INPUT.*, MODEL.PIXEL_*)."""

    min_size: int  # shorter edge after resizing; 0: no resizing
    max_size: int  # cap on the longer edge
    channel_order: str  # "BGR" or "RGB"
    pixel_mean: tuple[float, ...]  # in channel_order, 0..255
    pixel_std: tuple[float, ...]
