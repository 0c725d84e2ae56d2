"""From a network's outputs to the detections on the original image: once, in numpy, outside every graph.

D detections, M mask side, H and W of the original image. Boxes are x1 y1 x2 y2.
"""

from collections.abc import Mapping

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
    probs = outputs.get("mask_probs")
    return Instances(
        image_size=image_size,
        pred_boxes=boxes,
        scores=outputs["scores"][rows].astype(np.float32, copy=False),
        pred_classes=outputs["classes"][rows].astype(np.int64, copy=False),
        pred_masks=None if probs is None else paste_masks(probs[rows], boxes, image_size),
    )


def rescale_boxes(boxes: np.ndarray, *, input_size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """`boxes` [D,4] on an image of `input_size` (h, w) -> float32 [D,4] on one of `image_size`, clipped to it."""
    (in_height, in_width), (height, width) = input_size, image_size
    scale = np.array([width / in_width, height / in_height] * 2, dtype=np.float32)
    clipped: np.ndarray = np.clip(boxes * scale, 0, np.array([width, height] * 2, dtype=np.float32))
    return clipped.astype(np.float32, copy=False)


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
