"""Metrics: compared, printed, written, whatever their kind."""

import json
import math

import pytest

from d2deploy.metrics.scores import HEADLINES, Metrics

METRICS = Metrics(
    {
        "bbox": {
            **{"AP": 40.5, "AP50": 60.0, "AP75": 42.12345, "APs": math.nan, "APm": 5.0, "APl": 100.0},
            **{"AP-person": 50.0, "AP-1": 3.0, "AP-traffic light": math.nan, "AP-bicycle": 0.12},
        },
    }
)
TABLES = """\
Evaluation results for bbox:
|   AP   |  AP50  |  AP75  |  APs  |  APm  |   APl   |
|:------:|:------:|:------:|:-----:|:-----:|:-------:|
| 40.500 | 60.000 | 42.123 |  nan  | 5.000 | 100.000 |
nan: nothing to measure, as the annotations or the results hold no such object.
Per-category bbox AP:
| category   | AP     | category   | AP    | category      | AP   |
|:-----------|:-------|:-----------|:------|:--------------|:-----|
| person     | 50.000 | 1          | 3.000 | traffic light | nan  |
| bicycle    | 0.120  |            |       |               |      |"""


def test_the_tables_are_those_of_detectron2():
    assert METRICS.tables() == TABLES
    assert str(METRICS) == TABLES


def test_json_has_null_where_there_is_no_number():
    as_json = json.loads(json.dumps(METRICS.to_json(), allow_nan=False))
    assert as_json["bbox"]["APs"] is None
    assert as_json["bbox"]["AP75"] == 42.12345
    assert list(as_json["bbox"]) == list(METRICS["bbox"])


def test_the_difference_is_in_points_of_what_both_have():
    other = Metrics({"bbox": {"AP": 40.0, "AP50": 61.0, "APs": 1.0}, "segm": {"AP": 30.0}})
    difference = METRICS.difference(other)
    assert list(difference.scores) == ["bbox"]
    assert difference["bbox"] == pytest.approx({"AP": 0.5, "AP50": -1.0, "APs": math.nan}, nan_ok=True)


NAN = math.nan
DROPS = {
    "none": ({"bbox": 40.0}, {"bbox": 40.0}, 0.0),
    "a gain": ({"bbox": 40.5}, {"bbox": 40.0}, -0.5),
    "the worst counts": ({"bbox": 41.0, "segm": 30.0}, {"bbox": 40.0, "segm": 32.0}, 2.0),
    "a type is lost": ({"bbox": 40.0}, {"bbox": 40.0, "segm": 32.0}, math.inf),
    "a number is lost": ({"bbox": NAN}, {"bbox": 40.0}, math.inf),
    "there was none": ({"bbox": NAN}, {"bbox": NAN}, 0.0),
    "there was none, now is": ({"bbox": 3.0}, {"bbox": NAN}, 0.0),
}


@pytest.mark.parametrize("case", DROPS)
def test_drop(case):
    here, there, expected = DROPS[case]
    this, other = (Metrics({kind: {"AP": ap} for kind, ap in aps.items()}) for aps in (here, there))
    assert this.drop_from(other) == expected


ALL_KINDS = Metrics(
    {
        "bbox": {"AP": 40.0},
        "sem_seg": {"mIoU": 62.5, "IoU-sky": 75.0, "IoU-1": 50.0, "mACC": 80.0, "ACC-sky": 70.0, "ACC-1": 90.0},
        "panoptic_seg": {"PQ": 30.0, "SQ": 60.0, "RQ": 50.0, "PQ_th": math.nan},
    }
)
THEIR_TABLES = """\
Evaluation results for bbox:
|   AP   |
|:------:|
| 40.000 |
Evaluation results for sem_seg:
|  mIoU  |  mACC  |
|:------:|:------:|
| 62.500 | 80.000 |
Per-category sem_seg IoU:
| category   | IoU    | category   | IoU    |
|:-----------|:-------|:-----------|:-------|
| sky        | 75.000 | 1          | 50.000 |
Per-category sem_seg ACC:
| category   | ACC    | category   | ACC    |
|:-----------|:-------|:-----------|:-------|
| sky        | 70.000 | 1          | 90.000 |
Evaluation results for panoptic_seg:
|   PQ   |   SQ   |   RQ   |  PQ_th  |
|:------:|:------:|:------:|:-------:|
| 30.000 | 60.000 | 50.000 |   nan   |
nan: nothing to measure, as the annotations or the results hold no such object."""


def test_each_kind_has_its_tables():
    assert str(ALL_KINDS) == THEIR_TABLES


def test_every_kind_can_be_json():
    assert ALL_KINDS.to_json()["panoptic_seg"] == {"PQ": 30.0, "SQ": 60.0, "RQ": 50.0, "PQ_th": None}


# kind -> what it lost, of a headline of 50
LOST = {kind: float(i) for i, kind in enumerate(HEADLINES, start=1)}


@pytest.mark.parametrize("kind", HEADLINES)
def test_the_headline_of_each_kind_counts(kind):
    there = Metrics({kind: {HEADLINES[kind]: 50.0, "other": 50.0}})
    here = Metrics({kind: {HEADLINES[kind]: 48.0, "other": 0.0}})
    assert here.drops_from(there) == {kind: 2.0}
    assert here.drop_from(there) == 2.0


def test_each_kind_is_compared_for_itself():
    there = Metrics({kind: {key: 50.0} for kind, key in HEADLINES.items()})
    here = Metrics({kind: {HEADLINES[kind]: 50.0 - lost} for kind, lost in LOST.items()})
    assert here.drops_from(there) == LOST
    assert here.drop_from(there) == len(HEADLINES)


def test_a_kind_that_is_lacking_is_lost():
    assert Metrics({"bbox": {"AP": 40.0}}).drops_from(ALL_KINDS) == {
        "bbox": 0.0,
        "sem_seg": math.inf,
        "panoptic_seg": math.inf,
    }
