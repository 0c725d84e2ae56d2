"""From keypoint heatmaps to points in image pixels."""

from functools import lru_cache

import numpy as np


def find_keypoints(heatmaps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Where each heatmap peaks: float32 [D,K,3] x, y, score; from logits [D,K,S,S] that lie in `boxes` [D,4].

    The map is enlarged to the box's whole pixels by bicubic interpolation, and the middle of its highest pixel taken.
    The score is that height's share of a softmax over the S x S map, which it does not belong to; so it can be above 1
    (detectron2 structures/keypoints.py, heatmaps_to_keypoints, 02b5c4e2). Keypoints are in the boxes' pixels, not
    clipped.
    """
    found = np.zeros((*heatmaps.shape[:2], 3), dtype=np.float32)
    widths, heights = np.maximum(boxes[:, 2:] - boxes[:, :2], 1).T
    for points, maps, box, width, height in zip(found, heatmaps, boxes, widths, heights, strict=True):
        rows, columns = int(np.ceil(height)), int(np.ceil(width))
        enlarged = _bicubic(rows, maps.shape[1]) @ maps @ _bicubic(columns, maps.shape[2]).T
        flat = enlarged.reshape(len(maps), -1)
        row, column = np.divmod(flat.argmax(axis=1), columns)
        points[:, 0] = box[0] + (column + 0.5) * (width / columns)
        points[:, 1] = box[1] + (row + 0.5) * (height / rows)
        # A box of fewer pixels than the map has cells can miss a peak by so much that its share is 0.
        with np.errstate(over="ignore"):
            points[:, 2] = 1 / np.exp(maps - flat.max(axis=1)[:, None, None]).sum(axis=(1, 2))
    return found


@lru_cache(maxsize=4096)
def _bicubic(pixels: int, cells: int) -> np.ndarray:
    """Weights of `cells` on `pixels` along one axis, float32 [pixels, cells]: torch's bicubic (a = -0.75), borders
    repeated, pixel centres at half (align_corners False)."""
    position = (np.arange(pixels) + 0.5) * (cells / pixels) - 0.5
    base = np.floor(position).astype(int)
    weights = np.zeros((pixels, cells))
    for tap in (-1, 0, 1, 2):
        distance = np.abs(position - (base + tap))
        near = (1.25 * distance - 2.25) * distance**2 + 1
        far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
        np.add.at(weights, (np.arange(pixels), np.clip(base + tap, 0, cells - 1)), np.where(distance <= 1, near, far))
    return weights.astype(np.float32)
