"""How much boxes and segments overlap: intersection over union, in float64."""

import numpy as np

from d2deploy.results import corners


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes a [N,4] and b [M,4], or rotated ones [N,5] and [M,5]: [N,M]; 0 where a number is not finite."""
    return (_rotated_iou if a.shape[1] == 5 else _upright_iou)(a.astype(np.float64), b.astype(np.float64))


def grown(boxes: np.ndarray, by: float) -> np.ndarray:
    """Boxes [N,4] or rotated ones [N,5] with `by` pixels more on every side, float64."""
    change = [0, 0, 2 * by, 2 * by, 0] if boxes.shape[1] == 5 else [-by, -by, by, by]
    return boxes.astype(np.float64) + np.array(change)


def _upright_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    with np.errstate(invalid="ignore"):
        inner = (high - low).clip(min=0).prod(axis=2)
        return _over_union(inner, _area(a), _area(b))


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area


def _over_union(inner: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`inner` [N,M] over the union of areas a [N] and b [M]; 0 where that is no number."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(inner / (a[:, None] + b[None, :] - inner), nan=0.0, posinf=0.0, neginf=0.0)


def _rotated_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    areas = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    radius = np.hypot(a[:, 2], a[:, 3])[:, None] / 2 + np.hypot(b[:, 2], b[:, 3])[None, :] / 2
    with np.errstate(invalid="ignore"):
        distance = np.hypot(*(a[:, None, :2] - b[None, :, :2]).transpose(2, 0, 1))
        near = (distance < radius) & np.isfinite(a).all(axis=1)[:, None] & np.isfinite(b).all(axis=1)
    inner = np.zeros(near.shape)
    shapes = corners(a), corners(b)
    for i, j in np.argwhere(near).tolist():
        inner[i, j] = _shoelace(_clipped(shapes[0][i], shapes[1][j]))
    return _over_union(inner, *areas)


def _clipped(polygon: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The part of a convex polygon [P,2] inside a convex `frame` [4,2] of the same turn, cut edge by edge."""
    points = polygon
    for start, end in zip(frame, np.roll(frame, -1, axis=0), strict=True):
        if not len(points):
            break
        edge = end - start
        side = edge[0] * (points[:, 1] - start[1]) - edge[1] * (points[:, 0] - start[0])  # 0 or more: inside
        kept: list[np.ndarray] = []
        for here, there, s, t in zip(points, np.roll(points, -1, axis=0), side, np.roll(side, -1), strict=True):
            if s >= 0:
                kept.append(here)
            if (s >= 0) != (t >= 0):
                kept.append(here + (there - here) * (s / (s - t)))
        points = np.array(kept).reshape(-1, 2)
    return points


def _shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def common_pixels(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], int]:
    """How many pixels each pair of ids has in common, from maps int [H,W]; only pairs that occur."""
    ids_a, a = np.unique(a, return_inverse=True)
    ids_b, b = np.unique(b, return_inverse=True)
    counts = np.bincount((a * len(ids_b) + b).ravel(), minlength=len(ids_a) * len(ids_b))
    table = counts.reshape(len(ids_a), len(ids_b))
    return {(int(ids_a[i]), int(ids_b[j])): int(table[i, j]) for i, j in np.argwhere(table).tolist()}
