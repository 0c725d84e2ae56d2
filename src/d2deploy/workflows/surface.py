"""How far two DensePose results for one detection differ."""

import numpy as np

from d2deploy.results import DensePose, DensePoseChart


def surface_difference(a: DensePose, b: DensePose) -> tuple[float, float | None]:
    """(share of the body's pixels on another part or vertex, largest difference of u or v where parts are equal).

    Compared is pixel by pixel of the original image: boxes that differ in the last digit may begin a pixel apart. None:
    there are no u and v, or no such pixels.
    """
    left, top = min(a.x, b.x), min(a.y, b.y)
    right, bottom = (max(i.x + i.surface.shape[1] for i in (a, b)), max(i.y + i.surface.shape[0] for i in (a, b)))
    both = np.zeros((2, bottom - top, right - left), dtype=np.int64)
    for canvas, result in zip(both, (a, b), strict=True):
        canvas[_place(result, left, top)] = result.surface
    is_body = both.any(axis=0)
    differing = float((both[0] != both[1]).sum() / max(1, int(is_body.sum())))
    if not isinstance(a, DensePoseChart) or not isinstance(b, DensePoseChart):
        return differing, None
    is_same = is_body & (both[0] == both[1])
    found = [result.uv[:, is_same[_place(result, left, top)]].astype(np.float64) for result in (a, b)]
    return differing, float(np.abs(found[0] - found[1]).max()) if is_same.any() else None


def _place(result: DensePose, left: int, top: int) -> tuple[slice, slice]:
    """Its rows and columns on a canvas that begins at `left`, `top`."""
    (height, width), x, y = result.surface.shape, result.x - left, result.y - top
    return slice(y, y + height), slice(x, x + width)
