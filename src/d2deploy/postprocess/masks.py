"""From a mask in a box to a mask on the image. D masks, M the side of their cells, H and W of the original image."""

import numpy as np

MASK_THRESHOLD = 0.5


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
