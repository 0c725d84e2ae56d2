"""Panoptic quality, as COCO counts it and detectron2 reports it.

Own code, as no library fits: panopticapi, which defines it, is on no package index, and what is there wants all
predictions as files. Its rules (evaluation.py) are these few lines; tests hold its numbers.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from d2deploy.errors import DatasetError
from d2deploy.metrics.label_map import check_same_size
from d2deploy.results import Segment

VOID = 0  # id of pixels that are no segment
_NOTHING = {0, -1}  # what predictions call them: -1 where 0 is the first class's stuff (Panoptic-DeepLab)
MATCH = 0.5  # a predicted and a true segment are one when they overlap by more than this


class Category(NamedTuple):
    """One of the classes of a panoptic data set; `id` is the data set's."""

    id: int
    name: str
    is_thing: bool


class TrueSegment(NamedTuple):
    """One annotated region; `id` is its value in the map, `category_id` the data set's."""

    id: int
    category_id: int
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """One annotated image."""

    segment_ids: np.ndarray  # [H,W] int64; 0: void
    segments: tuple[TrueSegment, ...]


CategoryIds = Mapping[tuple[bool, int], int]
"""(is a thing, id as the network counts) -> id of the data set."""


def separate_ids(categories: Iterable[Category]) -> CategoryIds:
    """Things from 0, and stuff from 1 by its channels of sem_seg, of which 0 is all things: PanopticFPN.

    Both by ascending id, as detectron2 data/datasets/builtin_meta.py (02b5c4e2), coco_panoptic_separated.
    """
    ordered = sorted(categories)
    things = [category.id for category in ordered if category.is_thing]
    stuff = [category.id for category in ordered if not category.is_thing]
    return {(True, i): id for i, id in enumerate(things)} | {(False, i): id for i, id in enumerate(stuff, start=1)}


def joint_ids(categories: Iterable[Category]) -> CategoryIds:
    """One count for both, from 0 by ascending id: Panoptic-DeepLab.

    As detectron2 data/datasets/builtin_meta.py (02b5c4e2), coco_panoptic_standard, and cityscapes_panoptic.py.
    """
    return {(category.is_thing, i): category.id for i, category in enumerate(sorted(categories))}


@dataclass
class _Tally:
    """What has been counted of one category."""

    iou: float = 0.0  # sum over the matches
    matches: int = 0
    misses: int = 0
    inventions: int = 0

    @property
    def size(self) -> float:
        return self.matches + 0.5 * self.misses + 0.5 * self.inventions

    def qualities(self) -> tuple[float, float, float]:
        """PQ, SQ, RQ, where 1 is perfect."""
        segmentation = self.iou / self.matches if self.matches else 0.0
        return self.iou / self.size, segmentation, self.matches / self.size


class PanopticQuality:
    """PQ, SQ and RQ over images that are added one by one.

    A predicted and a true segment of one category match when their IoU, without the annotation's void pixels, is over
    a half. A crowd can be neither matched nor missed, and a prediction of which more than a half is void or a crowd of
    its category is no mistake.
    """

    def __init__(self, categories: Sequence[Category], category_ids: CategoryIds):
        self._categories = categories
        self._category_ids = category_ids
        self._tallies = {category.id: _Tally() for category in categories}

    def add(self, panoptic_seg: np.ndarray, segments: Iterable[Segment], truth: PanopticTruth) -> None:
        """Count one image. `panoptic_seg`: int [H,W], for each pixel the id of one of `segments`; other: 0 or -1.

        Raises DatasetError: annotation of another size; a category that the data set does not have; a map whose ids
        are not those of `segments`.
        """
        check_same_size(truth.segment_ids, panoptic_seg)
        segments = list(segments)
        found = {number: self._category_of(segment) for number, segment in enumerate(segments, start=1)}
        overlaps = _overlaps(truth.segment_ids, _numbered(panoptic_seg, segments))
        areas = _sum_by(overlaps, 1)
        matches = _match(overlaps, found, truth)
        self._count_annotated(truth, {true: iou for (true, _), iou in matches.items()})
        crowds = {segment.category_id: segment.id for segment in truth.segments if segment.is_crowd}
        for mine in found.keys() - {mine for _, mine in matches}:
            ignored = {VOID, crowds.get(found[mine], VOID)}
            if sum(overlaps[true, mine] for true in ignored) / areas[mine] <= MATCH:
                self._tallies[found[mine]].inventions += 1

    def result(self) -> dict[str, float]:
        """PQ, SQ, RQ in percent, the mean over the categories that occurred; _th of things, _st of stuff alone.

        NaN: no such category occurred.
        """
        groups = {
            "": self._categories,
            "_th": [category for category in self._categories if category.is_thing],
            "_st": [category for category in self._categories if not category.is_thing],
        }
        scores = {}
        for suffix, group in groups.items():
            rows = [self._tallies[category.id].qualities() for category in group if self._tallies[category.id].size]
            for i, name in enumerate(("PQ", "SQ", "RQ")):
                scores[name + suffix] = 100 * fmean(row[i] for row in rows) if rows else math.nan
        return scores

    def _category_of(self, segment: Segment) -> int:
        try:
            return self._category_ids[segment.is_thing, segment.category_id]
        except KeyError:
            kind = "thing" if segment.is_thing else "stuff"
            raise DatasetError(
                f"The model found {kind} of class {segment.category_id}, which the {len(self._categories)} categories "
                f"of the panoptic annotations do not have. Evaluate on the data set that the model was trained for."
            ) from None

    def _count_annotated(self, truth: PanopticTruth, matched: Mapping[int, float]) -> None:
        for segment in truth.segments:
            tally = self._tallies[segment.category_id]
            if segment.id in matched:
                tally.matches += 1
                tally.iou += matched[segment.id]
            elif not segment.is_crowd:
                tally.misses += 1


def _numbered(panoptic_seg: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """For each pixel the place of its segment in `segments`, from 1; VOID for none.

    Raises DatasetError where the map and `segments` have different ids.
    """
    numbers = {segment.id: number for number, segment in enumerate(segments, start=1)}
    ids, places = np.unique(panoptic_seg, return_inverse=True)
    if numbers.keys() - ids.tolist() or set(ids.tolist()) - numbers.keys() - _NOTHING:
        raise DatasetError("A panoptic result's map and its segments have different ids. Give those of one result.")
    return np.array([numbers.get(id, VOID) for id in ids.tolist()])[places].reshape(panoptic_seg.shape)


_Pair = tuple[int, int]  # true id, number of the predicted segment


def _overlaps(true: np.ndarray, mine: np.ndarray) -> Counter[_Pair]:
    """Pixels that each pair of ids has in common."""
    stride = int(mine.max(initial=0)) + 1
    pairs, pixels = np.unique(true.astype(np.int64) * stride + mine, return_counts=True)
    return Counter({divmod(pair, stride): count for pair, count in zip(pairs.tolist(), pixels.tolist(), strict=True)})


def _sum_by(overlaps: Mapping[_Pair, int], side: int) -> Counter[int]:
    """Pixels of each true (`side` 0) or predicted (1) segment."""
    areas = Counter[int]()
    for pair, pixels in overlaps.items():
        areas[pair[side]] += pixels
    return areas


def _match(overlaps: Counter[_Pair], found: Mapping[int, int], truth: PanopticTruth) -> dict[_Pair, float]:
    """IoU of the pairs that match; over a half, so each segment is in one pair at most. `found`: id -> category."""
    countable = {segment.id: segment.category_id for segment in truth.segments if not segment.is_crowd}
    true_areas, areas = _sum_by(overlaps, 0), _sum_by(overlaps, 1)
    matches = {}
    for (true, mine), pixels in overlaps.items():
        if mine in found and countable.get(true) == found[mine]:
            iou = pixels / (areas[mine] + true_areas[true] - pixels - overlaps[VOID, mine])
            if iou > MATCH:
                matches[true, mine] = iou
    return matches
