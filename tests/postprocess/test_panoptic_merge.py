"""Panoptic FPN's merge, rule by rule. Against detectron2 as a whole: tests/models/test_parity_regions.py."""

import dataclasses

import numpy as np
import pytest

from d2deploy.artifact import PanopticRule
from d2deploy.postprocess import merge
from d2deploy.results import Instances

RULE = PanopticRule(overlap=0.5, stuff_area=4, instance_score=0.5)
SKY, SEA = 1, 2


def instances(*rows):
    """Rows (score, class, first column, last column) of masks as high as the image of 4 x 10."""
    masks = np.zeros((len(rows), 4, 10), dtype=bool)
    for mask, (_, _, first, last) in zip(masks, rows, strict=True):
        mask[:, first:last] = True
    return Instances(
        image_size=(4, 10),
        pred_boxes=np.zeros((len(rows), 4), np.float32),
        scores=np.array([row[0] for row in rows], np.float32),
        pred_classes=np.array([row[1] for row in rows], np.int64),
        pred_masks=masks,
    )


def labels(text):
    """A row of the image: what each column is."""
    return np.tile([int(label) for label in text], (4, 1))


def merged(found, text, **rule):
    picture, segments = merge(found, labels(text), dataclasses.replace(RULE, **rule))
    assert (picture.shape, picture.dtype) == ((4, 10), np.int32)
    assert (picture == picture[0]).all()
    kinds = [(s.is_thing, s.category_id) for s in segments]
    assert [s.id for s in segments] == list(range(1, len(segments) + 1))
    return "".join(map(str, picture[0].tolist())), kinds


# instances, labels, changes of the rule -> picture, segments
CASES = {
    "nothing": ([], "0000000000", {}, "0000000000", []),
    "stuff alone": ([], "1111122222", {}, "1111122222", [(False, SKY), (False, SEA)]),
    "things' label is no stuff": ([], "0001111000", {}, "0001111000", [(False, SKY)]),
    "a thing over stuff": ([(0.9, 3, 0, 4)], "1111111111", {}, "1111222222", [(True, 3), (False, SKY)]),
    "the better one first": (
        [(0.6, 3, 0, 4), (0.9, 5, 2, 6)],
        "0000000000",
        {},
        "2211110000",
        [(True, 5), (True, 3)],
    ),
    "half taken is not too much": ([(0.9, 3, 0, 4), (0.8, 3, 2, 6)], "0000000000", {}, "1111220000", [(True, 3)] * 2),
    "more than half is": (
        [(0.9, 3, 0, 4), (0.8, 3, 1, 6), (0.7, 4, 3, 6)],
        "0000000000",
        {},
        "1111220000",
        [(True, 3), (True, 4)],
    ),
    "below the score": ([(0.49, 3, 0, 4)], "0000000000", {}, "0000000000", []),
    "at the score": ([(0.5, 3, 0, 4)], "0000000000", {}, "1111000000", [(True, 3)]),
    "an empty mask": ([(0.9, 3, 4, 4)], "0000000000", {}, "0000000000", []),
    "stuff at its least area": ([], "1222222222", {}, "1222222222", [(False, SKY), (False, SEA)]),
    "stuff below it": ([], "1222222222", {"stuff_area": 5}, "0111111111", [(False, SEA)]),
    "what things leave of it counts": ([(0.9, 3, 0, 9)], "1111111111", {"stuff_area": 5}, "1111111110", [(True, 3)]),
    "stuff in the order of labels": ([], "2222211111", {}, "2222211111", [(False, SKY), (False, SEA)]),
}


@pytest.mark.parametrize("case", CASES)
def test_rules(case):
    found, text, rule, picture, kinds = CASES[case]
    assert merged(instances(*found), text, **rule) == (picture, kinds)


def test_segments_say_where_they_come_from():
    found = instances((0.6, 3, 0, 2), (0.2, 9, 0, 9), (0.9, 5, 4, 6))
    _, segments = merge(found, labels("1111111111"), RULE)
    assert [(s.score, s.instance_id, s.area) for s in segments] == [
        (pytest.approx(0.9), 2, None),
        (pytest.approx(0.6), 0, None),
        (None, None, 24),
    ]
