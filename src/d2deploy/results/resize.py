"""Maps of scores from one image size to another, in bands of rows so that memory stays small."""

from collections.abc import Iterator

import numpy as np

_BAND = 2**23  # numbers that are worked on at a time: 32 MB


def resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`maps` [C,h,w] -> float32 [C,H,W], `size` (H, W), by bilinear interpolation of pixel centres.

    Each value is mixed from the four nearest, borders repeated, and nothing is averaged when it shrinks: what torch's
    interpolate does with align_corners False, as detectron2 uses it (modeling/postprocessing.py, 02b5c4e2).
    """
    resized = np.empty((len(maps), *size), dtype=np.float32)
    for rows, band in resize_bands(maps, size):
        resized[:, rows] = band
    return resized


def resize_at(maps: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Of each pixel of `resize(maps, (H, W))` the one channel that `channels` [H,W] says: float32 [H,W]."""
    maps = maps.astype(np.float32, copy=False)
    height, width = channels.shape
    above, below, to_below = _neighbours(maps.shape[1], height)
    left, right, to_right = _neighbours(maps.shape[2], width)
    above, below, to_below = above[:, None], below[:, None], to_below[:, None]
    before, after = (_mix(maps[channels, above, x], maps[channels, below, x], to_below) for x in (left, right))
    return _mix(before, after, to_right)


def resize_bands(maps: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of `resize(maps, size)`, from the top on: (which rows, float32 [C,rows,W])."""
    maps = maps.astype(np.float32, copy=False)
    height, width = size
    above, below, to_below = _neighbours(maps.shape[1], height)
    left, right, to_right = _neighbours(maps.shape[2], width)
    count = max(1, _BAND // max(1, len(maps) * max(width, maps.shape[2])))
    for first in range(0, height, count):
        rows = slice(first, min(first + count, height))
        if maps.shape[1:] == size:
            yield rows, maps[:, rows]
            continue
        band = _mix(maps[:, above[rows]], maps[:, below[rows]], to_below[rows, None])
        yield rows, _mix(band[:, :, left], band[:, :, right], to_right)


def _neighbours(cells: int, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pixel of one axis: the cells before and after its centre, and how far it is on the way (0..1)."""
    position = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / pixels) - np.float32(0.5)
    position = np.maximum(position, 0)
    before = np.minimum(position.astype(np.int64), cells - 1)
    return before, np.minimum(before + 1, cells - 1), position - before.astype(np.float32)


def _mix(before: np.ndarray, after: np.ndarray, way: np.ndarray) -> np.ndarray:
    # Of two equal numbers that very number: a flat peak stays flat, and Panoptic-DeepLab counts its pixels as centres.
    mixed: np.ndarray = before + (after - before) * way
    return mixed
