"""Which detection of one result is which of another: by class and overlap, never by row.

Detections tie: two runtimes that agree to the last but one digit may list them in different orders.
"""

from dataclasses import dataclass

import numpy as np

from d2deploy.results import Instances

MIN_IOU = 0.5
GROWTH = 0.5  # pixels on each side


@dataclass(frozen=True)
class Matching:
    """Row numbers. `pairs` [P,2] int64 (row of a, row of b), best first; `only_a`, `only_b`: rows without partner."""

    pairs: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray


def match(a: Instances, b: Instances) -> Matching:
    """Pair detections of equal class, best overlap first, each at most once, from an IoU of 0.5 up.

    The IoU is that of boxes grown by half a pixel on each side: without it a sliver of a hundredth of a pixel would
    lose all overlap by a difference that means nothing. IoUs that are equal to three digits are decided by the nearer
    score, so that two detections of one object keep their partners. Boxes are pixels of the original image; a row
    with a number that is not finite finds no partner.
    """
    iou = _iou(_grown(a.pred_boxes), _grown(b.pred_boxes))
    iou[a.pred_classes[:, None] != b.pred_classes[None, :]] = 0.0
    rows, columns = np.nonzero(iou >= MIN_IOU)
    gap = np.abs(a.scores[rows] - b.scores[columns])
    order = np.lexsort((gap, -iou[rows, columns].round(3)))
    pairs = _first_come(rows[order], columns[order])
    return Matching(pairs, _others(len(a), pairs[:, 0]), _others(len(b), pairs[:, 1]))


def _first_come(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    pairs = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
            pairs.append((row, column))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _others(count: int, taken: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(count), taken)


def _grown(boxes: np.ndarray) -> np.ndarray:
    return boxes.astype(np.float64) + np.array([-GROWTH, -GROWTH, GROWTH, GROWTH])


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes a [N,4] and b [M,4], float64 [N,M]; 0 where a number is not finite."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    with np.errstate(invalid="ignore"):
        inner = (high - low).clip(min=0).prod(axis=2)
        outer = _area(a)[:, None] + _area(b)[None, :] - inner
        return np.nan_to_num(inner / outer, nan=0.0, posinf=0.0, neginf=0.0)


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area
