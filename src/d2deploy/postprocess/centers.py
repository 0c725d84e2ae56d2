"""Centres of things in a heat map, and which of them each pixel points to: the first half of Panoptic-DeepLab.

Facts: detectron2 projects/Panoptic-DeepLab/panoptic_deeplab/post_processing.py (02b5c4e2). H, W: the original image's.
"""

import numpy as np

from d2deploy.artifact import PanopticDeepLabRule

_TILE = 64  # pixels a side


def find_centers(heatmap: np.ndarray, rule: PanopticDeepLabRule) -> np.ndarray:
    """int64 [K,2], y and x, row by row: where `heatmap` float32 [H,W] is high, and highest within nms_kernel pixels.

    The top_k-th best and what equals it are left out, so K is below top_k.
    """
    highest = _window_max(_window_max(heatmap, rule.nms_kernel).T, rule.nms_kernel).T
    is_peak = (heatmap == highest) & (heatmap > max(rule.center_threshold, 0))
    peaks = heatmap[is_peak]
    if len(peaks) >= rule.top_k:
        is_peak &= heatmap > np.partition(peaks, -rule.top_k)[-rule.top_k]
    return np.argwhere(is_peak)


def _window_max(maps: np.ndarray, size: int) -> np.ndarray:
    """The highest of the `size` (odd) values around each along the first axis; there are none beyond the border."""
    rows, margin = len(maps), size // 2
    best = np.pad(maps, ((margin, margin), (0, 0)), constant_values=-np.inf)
    width = 1
    while width * 2 <= size:
        best = np.maximum(best[:-width], best[width:])
        width *= 2
    highest: np.ndarray = np.maximum(best[:rows], best[size - width :][:rows])
    return highest


def group_pixels(offsets: np.ndarray, centers: np.ndarray, is_thing: np.ndarray) -> np.ndarray:
    """For each pixel of a thing the number of its centre, from 1; 0 elsewhere: int32 [H,W].

    A pixel at p belongs to the centre nearest to p + its offset, the first of equals. `offsets`: float32 [2,H,W], y and
    x in pixels; `centers`: int64 [K,2]; `is_thing`: bool [H,W].
    """
    owners = np.zeros(is_thing.shape, dtype=np.int32)
    if not len(centers):
        return owners
    for top in range(0, is_thing.shape[0], _TILE):
        for left in range(0, is_thing.shape[1], _TILE):
            tile = np.s_[top : top + _TILE, left : left + _TILE]
            rows, columns = np.nonzero(is_thing[tile])
            if len(rows):
                rows, columns = rows + top, columns + left
                y, x = offsets[:, rows, columns] + np.stack([rows, columns]).astype(np.float32)
                owners[rows, columns] = nearest(y, x, centers) + 1
    return owners


def nearest(y: np.ndarray, x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Which of `centers` [K,2] is nearest to each point y, x float32 [P], the first of equals: int64 [P].

    Fast where the points lie near each other: most centres cannot be the nearest of any.
    """
    low, high = np.array([y.min(), x.min()]), np.array([y.max(), x.max()])
    at_least = np.hypot(*np.maximum(np.maximum(low - centers, centers - high), 0).T)
    at_most = np.hypot(*np.maximum(np.abs(centers - low), np.abs(centers - high)).T)
    # One pixel more than needed, against rounding. "Not farther" keeps a centre where an offset is not a number.
    (near,) = np.nonzero(~(at_least > at_most.min() + 1))
    vertical, horizontal = centers[near].astype(np.float32).T
    distance = y[:, None] - vertical
    distance *= distance
    across = x[:, None] - horizontal
    across *= across
    distance += across
    found: np.ndarray = near[distance.argmin(axis=1)]
    return found
