"""Panoptic quality: panopticapi's own numbers, cases counted by hand, perfect predictions."""

import json
import math

import numpy as np
import pytest

from d2deploy.errors import DatasetError
from d2deploy.metrics.panoptic import (
    Category,
    PanopticQuality,
    PanopticTruth,
    TrueSegment,
    joint_ids,
    separate_ids,
)
from d2deploy.metrics.panoptic_annotations import read_panoptic
from d2deploy.results import Segment

CAT, DOG, SKY = Category(7, "cat", True), Category(3, "dog", True), Category(5, "sky", False)
CATEGORIES = (CAT, DOG, SKY)
CAT_SEGMENT, DOG_SEGMENT, SKY_SEGMENT = (True, 1), (True, 0), (False, 1)


def segments(rows):
    return [Segment(id=i, is_thing=is_thing, category_id=k) for i, (is_thing, k) in rows.items()]


def row_of(**pixels):
    """A map of one row: t5=4, t0=2 is five's four pixels, then two of void."""
    return np.array([[int(name[1:].split("_")[0]) for name, count in pixels.items() for _ in range(count)]])


def quality(true, true_segments, mine, my_segments):
    counter = PanopticQuality(CATEGORIES, separate_ids(CATEGORIES))
    truth = PanopticTruth(segment_ids=true, segments=tuple(TrueSegment(*row) for row in true_segments))
    counter.add(mine, segments(my_segments), truth)
    return counter.result()


# name -> (true map, true segments, predicted map, predicted segments), {score: by hand}
CASES = {
    # One cat of 8 pixels, of which 6 are found, with 2 beside it: IoU 6 / 10.
    "one match": (
        (row_of(t0=0, t9=8, t4=4), [(9, 7), (4, 5)], row_of(p0=2, p1=8, p0_b=2), {1: CAT_SEGMENT}),
        {"PQ_th": 60.0, "SQ_th": 60.0, "RQ_th": 100.0, "PQ_st": 0.0, "PQ": 30.0, "SQ": 30.0, "RQ": 50.0},
    ),
    # 6 of 12: exactly a half is no match, but a miss and an invention.
    "a half is no match": (
        (row_of(t9=9, t4=3), [(9, 7), (4, 5)], row_of(p0=3, p1=9), {1: CAT_SEGMENT}),
        {"PQ_th": 0.0, "SQ_th": 0.0, "RQ_th": 0.0},
    ),
    # Two true cats, one found exactly: (1) / (1 + 0.5).
    "a miss": (
        (row_of(t9=3, t8=3), [(9, 7), (8, 7)], row_of(p1=3, p0=3), {1: CAT_SEGMENT}),
        {"PQ_th": 100 / 1.5, "SQ_th": 100.0, "RQ_th": 100 / 1.5},
    ),
    # The right region, but a dog: a miss of cats, an invention of dogs.
    "another class": (
        (row_of(t9=6), [(9, 7)], row_of(p1=6), {1: DOG_SEGMENT}),
        {"PQ": 0.0, "PQ_th": 0.0, "PQ_st": math.nan},
    ),
    # 4 of the cat's 4, and 4 of void that do not count.
    "void is not in the union": (
        (row_of(t9=4, t0=4), [(9, 7)], row_of(p1=8), {1: CAT_SEGMENT}),
        {"PQ": 100.0, "SQ": 100.0, "RQ": 100.0},
    ),
    # 5 of 9 in void: no mistake. 4 of 8 in void, exactly a half: a mistake.
    "more than a half in void": (
        (row_of(t0=9, t4=8), [(4, 5)], row_of(p1=9, p2=8), {1: CAT_SEGMENT, 2: SKY_SEGMENT}),
        {"PQ": 100.0, "PQ_th": math.nan, "PQ_st": 100.0},
    ),
    "a half in void": (
        (row_of(t0=4, t4=12), [(4, 5)], row_of(p1=8, p2=8), {1: CAT_SEGMENT, 2: SKY_SEGMENT}),
        {"PQ_th": 0.0, "PQ_st": 100 * 8 / 12},
    ),
    "a crowd is not missed": (
        (row_of(t9=6, t4=6), [(9, 7, True), (4, 5)], row_of(p0=6, p2=6), {2: SKY_SEGMENT}),
        {"PQ": 100.0, "PQ_th": math.nan},
    ),
    "nor matched, nor is a cat in it an invention": (
        (row_of(t9=6, t4=6), [(9, 7, True), (4, 5)], row_of(p1=6, p2=6), {1: CAT_SEGMENT, 2: SKY_SEGMENT}),
        {"PQ": 100.0, "PQ_th": math.nan},
    ),
    "a dog in a crowd of cats is one": (
        (row_of(t9=6, t4=6), [(9, 7, True), (4, 5)], row_of(p1=6, p2=6), {1: DOG_SEGMENT, 2: SKY_SEGMENT}),
        {"PQ": 50.0, "PQ_th": 0.0, "PQ_st": 100.0},
    ),
    # 3 of void and 3 of the crowd are together more than a half of 10.
    "void and crowd add up": (
        (row_of(t0=3, t9=3, t4=14), [(9, 7, True), (4, 5)], row_of(p1=10, p2=10), {1: CAT_SEGMENT, 2: SKY_SEGMENT}),
        {"PQ_th": math.nan, "PQ_st": 100 * 10 / 14},
    ),
    "nothing found": (
        (row_of(t9=6), [(9, 7)], row_of(p0=6), {}),
        {"PQ": 0.0, "SQ": 0.0, "RQ": 0.0, "PQ_th": 0.0, "PQ_st": math.nan},
    ),
    "nothing there": (
        (row_of(t0=6), [], row_of(p0=6), {}),
        {"PQ": math.nan, "SQ": math.nan, "RQ": math.nan, "PQ_th": math.nan, "PQ_st": math.nan},
    ),
    # Pixels of an id that the json does not list are neither void nor a segment (panopticapi).
    "an unlisted id": (
        (row_of(t77=3, t9=6), [(9, 7)], row_of(p1=9), {1: CAT_SEGMENT}),
        {"PQ": 100 * 6 / 9},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_counted_by_hand(case):
    arguments, expected = CASES[case]
    scores = quality(*arguments)
    assert list(scores) == ["PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"]
    assert {key: scores[key] for key in expected} == pytest.approx(expected, nan_ok=True)


def test_images_add_up():
    counter = PanopticQuality(CATEGORIES, separate_ids(CATEGORIES))
    truth = PanopticTruth(segment_ids=row_of(t9=6), segments=(TrueSegment(9, 7),))
    counter.add(row_of(p1=6), segments({1: CAT_SEGMENT}), truth)
    counter.add(row_of(p0=6), [], truth)
    assert counter.result()["PQ"] == pytest.approx(100 / 1.5)


def test_panopticapi_counts_the_same(golden):
    known = json.loads((golden / "panoptic_quality.json").read_text())
    categories = [Category(i, str(i), bool(is_thing)) for i, is_thing in known["categories"]]
    is_thing = {category.id: category.is_thing for category in categories}
    counter = PanopticQuality(categories, {(c.is_thing, c.id): c.id for c in categories})
    with np.load(golden / "panoptic_quality.npz") as maps:
        for number, (true, found) in enumerate(zip(known["true"], known["found"], strict=True)):
            truth = PanopticTruth(
                segment_ids=maps[f"{number}/true"], segments=tuple(TrueSegment(i, k, c == 1) for i, k, c in true)
            )
            counter.add(maps[f"{number}/found"], segments({i: (is_thing[k], k) for i, k in found}), truth)
    expected = {
        f"{score.upper()}{suffix}": 100 * known["quality"][group][score]
        for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st"))
        for score in ("pq", "sq", "rq")
    }
    assert counter.result() == pytest.approx(expected, abs=1e-9)


def test_separate_ids_count_things_from_0_and_stuff_from_1():
    assert separate_ids(CATEGORIES) == {(True, 0): 3, (True, 1): 7, (False, 1): 5}


def test_joint_ids_count_all_from_0():
    assert joint_ids(CATEGORIES) == {(True, 0): 3, (False, 1): 5, (True, 2): 7}


def test_annotations_as_predictions_are_perfect(golden):
    annotations = read_panoptic(golden / "shapes/annotations/panoptic_val.json", golden / "shapes/panoptic_val")
    ids = separate_ids(annotations.categories)
    assert [ids[True, 7], ids[False, 4]] == [13, 100]
    back = {dataset_id: key for key, dataset_id in ids.items()}
    counter = PanopticQuality(annotations.categories, ids)
    for image in annotations.images:
        truth = annotations.truth(image["id"])
        assert truth.segment_ids.shape == (image["height"], image["width"])
        mine = {s.id: back[s.category_id] for s in truth.segments}
        counter.add(truth.segment_ids, segments(mine), truth)
    assert len(annotations.images) == 100
    assert set(counter.result().values()) == {100.0}


def test_a_result_of_another_size_is_refused():
    with pytest.raises(DatasetError, match="The annotation has 6 x 1 pixels, the image 5 x 1"):
        quality(row_of(t9=6), [(9, 7)], row_of(p1=5), {1: CAT_SEGMENT})


UNKNOWN = {"a thing": (True, 2), "stuff": (False, 2), "stuff that is all things": (False, 0)}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_class_that_the_data_set_does_not_have_is_refused(case):
    is_thing, category_id = UNKNOWN[case]
    with pytest.raises(DatasetError, match=rf"of class {category_id}, which the 3 categories"):
        quality(row_of(t9=6), [(9, 7)], row_of(p1=6), {1: (is_thing, category_id)})


def test_ids_as_panoptic_deeplab_gives_them():
    """0 is a segment, stuff of the first class, and -1 is nothing."""
    truth = [(9, 7), (5, 5)]
    usual = quality(row_of(t9=8, t5=6), truth, row_of(p1=8, p2=4, p0=2), {1: CAT_SEGMENT, 2: SKY_SEGMENT})
    mine = np.array([[1001] * 8 + [0] * 4 + [-1] * 2])
    assert quality(row_of(t9=8, t5=6), truth, mine, {1001: CAT_SEGMENT, 0: SKY_SEGMENT}) == usual
    assert usual["PQ_th"] == 100 and 0 < usual["PQ_st"] < 100


MISNAMED = {"unlisted": {}, "listed, but nowhere": {1: CAT_SEGMENT, 2: DOG_SEGMENT}}


@pytest.mark.parametrize("case", MISNAMED)
def test_a_map_and_segments_of_different_ids_are_refused(case):
    with pytest.raises(DatasetError, match="have different ids"):
        quality(row_of(t9=6), [(9, 7)], row_of(p1=6), MISNAMED[case])
