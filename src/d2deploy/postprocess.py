"""From a network's outputs to the detections on the original image: once, in numpy, outside every graph.

D detections, M mask side, H and W of the original image. Boxes are x1 y1 x2 y2.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from d2deploy.results import Instances

MASK_THRESHOLD = 0.5


def to_instances(
    outputs: Mapping[str, np.ndarray],
    *,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    image_index: int = 0,
) -> Instances:
    """Detections of image `image_index` of a batch, in pixels of the original image.

    `outputs`: boxes [D,4], scores [D], classes [D], image_index [D] and, for masks, mask_probs [D,M,M], boxes in
    network-input pixels. `input_size`: (height, width) of the resized image, before padding; `image_size`: of the
    original.
    """
    # Order as in detectron2 modeling/postprocessing.py (02b5c4e2): scale each axis by itself, clip to the original
    # image, then drop empty boxes. Dropping first would return the boxes that clipping empties.
    rows = np.flatnonzero(outputs["image_index"] == image_index)
    boxes = rescale_boxes(outputs["boxes"][rows], input_size=input_size, image_size=image_size)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows, boxes = rows[kept], boxes[kept]
    probs, heatmaps = outputs.get("mask_probs"), outputs.get("keypoint_heatmaps")
    return Instances(
        image_size=image_size,
        pred_boxes=boxes,
        scores=outputs["scores"][rows].astype(np.float32, copy=False),
        pred_classes=outputs["classes"][rows].astype(np.int64, copy=False),
        pred_masks=None if probs is None else paste_masks(probs[rows], boxes, image_size),
        pred_keypoints=None
        if heatmaps is None
        else find_keypoints(heatmaps[rows], outputs["boxes"][rows]) * (*_scale(input_size, image_size), 1),
    )


def rescale_boxes(boxes: np.ndarray, *, input_size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """`boxes` [D,4] on an image of `input_size` (h, w) -> float32 [D,4] on one of `image_size`, clipped to it."""
    height, width = image_size
    scale = np.array(_scale(input_size, image_size) * 2, dtype=np.float32)
    clipped: np.ndarray = np.clip(boxes * scale, 0, np.array([width, height] * 2, dtype=np.float32))
    return clipped.astype(np.float32, copy=False)


def _scale(input_size: tuple[int, int], image_size: tuple[int, int]) -> tuple[float, float]:
    """Original pixels per network-input pixel, along x and y."""
    return image_size[1] / input_size[1], image_size[0] / input_size[0]


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


def paste_masks(probs: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Masks of the whole image, bool [D,H,W], from `probs` [D,M,M] that lie in `boxes` [D,4], original pixels.

    Each pixel reads, at its centre, the bilinear interpolation of the box's M x M cells, whose centres are the
    sample points; beyond the cells is zero. Set where that is at least 0.5. Same as detectron2 layers/mask_ops.py
    (02b5c4e2): the box is neither rounded nor grown (grid sampling with align_corners False). Boxes may reach
    beyond the image; a box without area, or with a number that is not finite, gives an empty mask.
    """
    masks = np.zeros((len(probs), *image_size), dtype=bool)
    height, width = image_size
    probs = probs.astype(np.float32, copy=False)
    for mask, cells, (x1, y1, x2, y2) in zip(masks, probs, boxes.tolist(), strict=True):
        if not (-np.inf < x1 < x2 < np.inf and -np.inf < y1 < y2 < np.inf):
            continue
        rows, to_rows = _interpolation(y1, y2, pixels=height, cells=cells.shape[0])
        columns, to_columns = _interpolation(x1, x2, pixels=width, cells=cells.shape[1])
        # Bilinear interpolation on a grid is one matrix product an axis.
        values = (to_rows @ cells) @ to_columns.T
        np.greater_equal(values, MASK_THRESHOLD, out=mask[rows, columns])
    return masks


def _interpolation(low: float, high: float, *, pixels: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels of one axis that a box side covers, and their weights on its cells: float32 [pixels, cells].

    Pixels outside the side are left out: falling off towards zero from at most 1, they stay below the threshold.
    """
    first = int(min(max(low, 0.0), pixels))
    last = int(min(max(np.ceil(high), first), pixels))
    centres = np.arange(first, last) + 0.5
    position = (centres - low) * (cells / (high - low)) - 0.5
    weights = 1 - np.abs(position[:, None] - np.arange(cells))
    return slice(first, last), np.maximum(weights, 0).astype(np.float32)
