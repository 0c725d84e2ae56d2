"""run_eval: what counts as a loss."""

import math

import pytest

from d2deploy.errors import Mismatch
from d2deploy.metrics.scores import HEADLINES, Metrics
from d2deploy.workflows.run_eval import Comparison

NAN = math.nan


def comparison(source: dict[str, float], export: dict[str, float]) -> Comparison:
    scores = [
        Metrics({kind: {HEADLINES[kind]: score, "other": score} for kind, score in side.items()})
        for side in (source, export)
    ]
    return Comparison(source=scores[0], export=scores[1], names=("eager", "onnx"))


FINE = {
    "same": ({"bbox": 40.0, "segm": 30.0}, {"bbox": 40.0, "segm": 30.0}),
    "gain": ({"bbox": 40.0}, {"bbox": 45.0}),
    "just within": ({"bbox": 40.0}, {"bbox": 39.91}),
    "nothing to measure": ({"bbox": 40.0, "segm": NAN}, {"bbox": 40.0, "segm": NAN}),
}
WORSE = {
    "boxes": ({"bbox": 40.0, "segm": 30.0}, {"bbox": 39.8, "segm": 30.0}, "loses 0.200 points of bbox AP"),
    "masks": ({"bbox": 40.0, "segm": 30.0}, {"bbox": 41.0, "segm": 29.0}, "loses 1.000 points of segm AP"),
    "pixels": ({"sem_seg": 40.0, "bbox": 3.0}, {"sem_seg": 39.0, "bbox": 3.0}, "loses 1.000 points of sem_seg mIoU"),
    "segments": ({"panoptic_seg": 40.0}, {"panoptic_seg": 39.0}, "loses 1.000 points of panoptic_seg PQ"),
    "no masks": ({"bbox": 40.0, "segm": 30.0}, {"bbox": 40.0}, "lacks the segm AP"),
    "no objects": ({"bbox": 40.0}, {"bbox": NAN}, "lacks the bbox AP"),
}


@pytest.mark.parametrize("case", FINE.values(), ids=FINE.keys())
def test_fine(case):
    comparison(*case).raise_if_worse()


@pytest.mark.parametrize("case", WORSE.values(), ids=WORSE.keys())
def test_worse(case):
    *sides, words = case
    with pytest.raises(Mismatch, match=words):
        comparison(*sides).raise_if_worse()


def test_the_bound_is_the_caller_s():
    with pytest.raises(Mismatch, match="allowed are nan"):
        comparison({"bbox": 40.0}, {"bbox": 38.0}).raise_if_worse(NAN)
    comparison({"bbox": 40.0}, {"bbox": 38.0}).raise_if_worse(2.0)


def test_the_text_has_both_and_the_difference():
    text = str(comparison({"bbox": 40.0}, {"bbox": 39.5}))
    last = [line.split() for line in text.splitlines() if "other" in line][-1]
    assert last == ["bbox", "other", "40.000", "39.500", "-0.500"]
    assert text.count("Evaluation results for bbox") == 2
