"""compare for results that are not plain detections: proposals, classes of pixels, segments, rotated boxes."""

import dataclasses
import json

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, PanopticRule, Preprocess, Thresholds
from d2deploy.results import Instances, PanopticResult, Proposals, Segment, SemanticResult
from d2deploy.workflows.compare import compare, nothing_compared
from d2deploy.workflows.report import Budget, Report, Row

NAN = float("nan")


SPEC = ModelSpec(
    meta_architecture="PanopticFPN",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(
        min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
    num_classes=2,
    class_names=(),
    panoptic=PanopticRule(overlap=0.5, stuff_area=100, instance_score=0.5),
)


def row(a, b, spec=SPEC):
    return compare("image", a, b, spec=spec, budget=Budget())


def check(found, word):
    assert found.ok == (not word), found.faults
    assert word in "; ".join(found.faults)


def semantic(text, height=100, bad=False):
    """An image whose columns are of these classes."""
    labels = np.tile([int(label) for label in text], (height, 10))
    logits = np.stack([np.equal(labels, channel).astype(np.float32) for channel in range(3)])
    if bad:
        logits[0, 0, 0] = NAN
    return SemanticResult(image_size=labels.shape, logits=logits)


def changed(result, pixels):
    logits = result.logits.copy()
    logits[:, 0, :pixels] = [[0], [0], [2]]
    return dataclasses.replace(result, logits=logits)


A = semantic("0000011111")
# source, export -> pairs, the word in the fault
PIXELS = {
    "same": (A, A, 2, ""),
    "a thousandth": (A, changed(A, 10), 2, ""),
    "more": (A, changed(A, 11), 2, "pixels differ by 0.110%, allowed are 0.100%"),
    "another class everywhere": (A, semantic("1111100000"), 2, "pixels differ by 100"),
    "one class throughout proves nothing": (semantic("1111111111"), semantic("1111111111"), 0, ""),
    "one class on one side": (A, semantic("1111111111"), 1, "pixels differ by 50"),
    "not finite": (A, semantic("0000011111", bad=True), 2, "not finite"),
}


@pytest.mark.parametrize("case", PIXELS)
def test_classes_of_pixels(case):
    a, b, pairs, word = PIXELS[case]
    found = row(a, b)
    check(found, word)
    assert found.pairs == pairs
    assert found.boxes_px is None and found.mask_iou is None


def proposals(*rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 5).astype(np.float32)
    return Proposals(image_size=(400, 400), proposal_boxes=table[:, :4], objectness_logits=table[:, 4])


MANY = [(10.0 * i, 0, 10.0 * i + 9, 9 + 10 * j, 5 - 0.01 * (i + 30 * j)) for j in range(8) for i in range(30)]
PROPOSED = {
    "same": (MANY, MANY, ""),
    "other order": (MANY, MANY[::-1], ""),
    "none": ([], [], ""),
    "box beyond": (MANY, [(0.1, 0, 9, 9, 5), *MANY[1:]], "boxes differ by 0.1 px"),
    "logit within": (MANY, [(*MANY[0][:4], 5.004), *MANY[1:]], ""),
    "logit beyond": (MANY, [(*MANY[0][:4], 5.01), *MANY[1:]], "objectness logits differ by 0.01"),
    "one of 200 lost": (MANY, [MANY[0], *MANY[2:]], ""),
    "three of 240 lost": (MANY, [*MANY[:1], *MANY[4:]], "3 proposals without partner"),
    "the last ones lost": (MANY, MANY[:-1], ""),
    "not finite": (MANY, [(*MANY[0][:4], NAN), *MANY[1:]], "not finite"),
}


@pytest.mark.parametrize("case", PROPOSED)
def test_proposals(case):
    a, b, word = PROPOSED[case]
    found = row(proposals(*a), proposals(*b))
    check(found, word)
    assert found.pairs >= min(len(a), len(b)) - 3
    assert found.scores is None


def panoptic(text, *segments, instances=None, height=100):
    """Segments (is thing, category, score) with the ids 1, 2, ..., and which of them each column is of."""
    picture = np.tile(np.array([int(i) for i in text], np.int32), (height, 10))
    made = tuple(Segment(id=i, is_thing=t, category_id=c, score=s) for i, (t, c, s) in enumerate(segments, start=1))
    return PanopticResult(
        image_size=picture.shape,
        panoptic_seg=picture,
        segments=made,
        sem_seg=SemanticResult(image_size=picture.shape, logits=np.zeros((2, 4, 4), np.float32)),
        instances=instances,
    )


CAT, DOG, SKY, EDGE = (True, 0, 0.9), (True, 1, 0.8), (False, 1, None), (True, 0, 0.5004)
ONE = panoptic("1112223300", CAT, DOG, SKY)
SEGMENTS = {
    "same": (ONE, ONE, ""),
    "other ids": (ONE, panoptic("3331112200", DOG, SKY, CAT), ""),
    "another category": (ONE, panoptic("1112223300", CAT, CAT, SKY), "2 segments without partner"),
    "stuff that is a thing": (ONE, panoptic("1112223300", CAT, DOG, (True, 1, None)), "2 segments without partner"),
    "lost": (ONE, panoptic("1112220000", CAT, DOG), "1 segments without partner"),
    "moved by a tenth": (ONE, panoptic("1122223300", CAT, DOG, SKY), "pixels differ by 10"),
    "lost at the score": (panoptic("1112220000", CAT, EDGE), panoptic("1110000000", CAT), ""),
    "invented at the score": (panoptic("1110000000", CAT), panoptic("1112220000", CAT, EDGE), ""),
    "lost above the score": (
        panoptic("1112220000", CAT, (True, 0, 0.502)),
        panoptic("1110000000", CAT),
        "1 segments without partner",
    ),
    "stuff lost at its least area": (
        panoptic("1110000002", CAT, SKY, height=10),
        panoptic("1110000000", CAT, height=10),
        "",
    ),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_segments(case):
    a, b, word = SEGMENTS[case]
    found = row(a, b)
    check(found, word)
    assert (found.source, found.export) == (len(a.segments), len(b.segments))


def test_the_pixels_of_a_pair_that_differ_are_counted():
    other = ONE.panoptic_seg.copy()
    other[:5, 2] = 2  # five of 10 000, from the cat to the dog
    assert row(ONE, dataclasses.replace(ONE, panoptic_seg=other)).pixels == pytest.approx(5e-4)


def test_instances_of_a_panoptic_result_count_too():
    a = dataclasses.replace(ONE, instances=instances([0, 0, 20, 20]))
    assert row(a, a).ok
    check(row(a, dataclasses.replace(ONE, instances=instances([0, 0, 20, 20.1]))), "boxes differ by 0.1 px")
    check(row(a, ONE), "instances on one side only")


def instances(*boxes):
    return Instances(
        image_size=(100, 100),
        pred_boxes=np.array(boxes, np.float32),
        scores=np.full(len(boxes), 0.9, np.float32),
        pred_classes=np.zeros(len(boxes), np.int64),
    )


ROTATED = {
    "same": ([50, 50, 40, 20, 30], [50, 50, 40, 20, 30], ""),
    "once around": ([50, 50, 40, 20, 180], [50, 50, 40, 20, -180], ""),
    "half around": ([50, 50, 40, 20, 90], [50, 50, 40, 20, -90], "boxes differ by"),
    "a bit aside": ([50, 50, 40, 20, 30], [50.04, 50, 40, 20, 30], ""),
    "aside": ([50, 50, 40, 20, 30], [50.06, 50, 40, 20, 30], "boxes differ by 0.06 px"),
    "turned, which moves a far corner": ([50, 50, 80, 2, 0], [50, 50, 80, 2, 0.1], "boxes differ by 0.0"),
    "another place": ([20, 20, 40, 20, 30], [70, 70, 40, 20, 30], "2 detections without partner"),
    "crossed": ([50, 50, 80, 10, 0], [50, 50, 80, 10, 90], "2 detections without partner"),
    "not a number": ([50, 50, NAN, 20, 30], [50, 50, NAN, 20, 30], "not finite"),
}


@pytest.mark.parametrize("case", ROTATED)
def test_rotated_boxes(case):
    a, b, word = ROTATED[case]
    check(row(instances(a), instances(b)), word)


def test_results_of_two_kinds_are_a_fault():
    check(row(A, ONE), "the source gives SemanticResult, the export PanopticResult")
    check(row(instances([0, 0, 9, 9]), instances([5, 5, 9, 9, 0])), "the export Instances with rotated boxes")


def test_without_thresholds_nothing_is_excused():
    a, b = instances([0, 0, 9, 9], [50, 50, 60, 60]), instances([0, 0, 9, 9])
    check(row(a, b, dataclasses.replace(SPEC, thresholds=None)), "1 detections without partner")


@pytest.mark.parametrize("kind", [Instances, PanopticResult, Proposals, SemanticResult])
def test_nothing_compared_says_what_to_do(kind):
    assert "--sample-image" in nothing_compared(kind)


def report(*rows):
    return Report(source="eager", export="onnx", budget=Budget(), rows=rows, faults=(), versions={})


def test_the_table_has_the_columns_that_were_measured():
    pixels = str(report(row(A, changed(A, 5))))
    assert "pixels" in pixels and "0.050%" in pixels and "mask IoU" not in pixels
    boxes = str(report(row(instances([0, 0, 9, 9]), instances([0, 0, 9, 9]))))
    assert "box px" in boxes and "pixels" not in boxes
    assert str(report())


@pytest.mark.parametrize(("a", "b"), [(A, A), (ONE, ONE), (proposals(*MANY), proposals(*MANY))])
def test_a_report_comes_back_from_json(a, b):
    made = report(row(a, b))
    assert Report.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_report_of_schema_1_still_reads():
    """As d2deploy 0.1.0 wrote it into manifests."""
    budget = {"boxes_px": 0.05, "scores": 2e-4, "mask_iou": 0.99, "keypoints_px": 0.1, "threshold_margin": 1e-3}
    measured = {"boxes_px": 0.001, "scores": 1e-6, "mask_iou": None, "keypoints_px": None}
    counts = {"source": 3, "export": 3, "pairs": 3, "unmatched": 0, "excused": 0}
    old = {"image": "a.jpg", "size": [10, 20], **counts, **measured, "faults": [], "is_tie": False, "ok": True}
    fields = {"source": "eager", "export": "onnx", "budget": budget, "rows": [old], "faults": [], "versions": {}}
    found = Report.from_dict({"ok": True, "reasons": [], **fields})
    assert found.ok
    assert found.rows == (
        Row(image="a.jpg", size=(10, 20), **{**counts, **measured}, faults=()),  # type: ignore[arg-type]
    )
    assert "onnx against eager: the same" in str(found)
