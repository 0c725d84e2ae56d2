"""What of one result is which of another: by class and overlap, never by row.

Detections tie: two runtimes that agree to the last but one digit may list them in different orders.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from d2deploy.results import Instances, PanopticResult
from d2deploy.workflows.overlap import box_iou, common_pixels, grown

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
    iou = box_iou(grown(a.pred_boxes, GROWTH), grown(b.pred_boxes, GROWTH))
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


@dataclass(frozen=True)
class SegmentMatching:
    """Ids of segments: pairs (of a, of b), those without partner, and the pixels that each pair of ids shares."""

    pairs: set[tuple[int, int]]
    only_a: set[int]
    only_b: set[int]
    common: dict[tuple[int, int], int]  # without those that are of no segment on both sides

    def differing(self, *, but: tuple[set[int], set[int]]) -> int:
        """Pixels of segments that are of no pair; what belongs to segments in `but`, of a and of b, does not count."""
        a, b = but
        return sum(n for (i, j), n in self.common.items() if (i, j) not in self.pairs and i not in a and j not in b)


def match_segments(a: PanopticResult, b: PanopticResult) -> SegmentMatching:
    """Pair segments of one kind and category that overlap by more than half: each has one such partner at most."""
    common = common_pixels(a.panoptic_seg, b.panoptic_seg)
    areas_a: Counter[int] = Counter()
    areas_b: Counter[int] = Counter()
    for (i, j), pixels in common.items():
        areas_a[i] += pixels
        areas_b[j] += pixels
    kinds_a, kinds_b = ({s.id: (s.is_thing, s.category_id) for s in result.segments} for result in (a, b))
    pairs = {
        (i, j)
        for (i, j), pixels in common.items()
        if i in kinds_a and kinds_a[i] == kinds_b.get(j) and pixels > MIN_IOU * (areas_a[i] + areas_b[j] - pixels)
    }
    return SegmentMatching(
        pairs=pairs,
        only_a=kinds_a.keys() - {i for i, _ in pairs},
        only_b=kinds_b.keys() - {j for _, j in pairs},
        common={(i, j): pixels for (i, j), pixels in common.items() if i in kinds_a or j in kinds_b},
    )
