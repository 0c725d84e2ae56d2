"""verify: what the budget allows, what it does not, and that nothing passes for lack of evidence."""

import dataclasses
import json

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, Preprocess, Thresholds
from d2deploy.errors import ImageError, Mismatch
from d2deploy.results import Instances
from d2deploy.workflows import verify as module
from d2deploy.workflows.compare import compare
from d2deploy.workflows.sample import Sample, demo_images, sample_images
from d2deploy.workflows.verify import Budget, Report, verify

BUDGET = Budget()
THRESHOLDS = Thresholds(score=0.05, nms=0.5, max_detections=3)
SPEC = ModelSpec(
    meta_architecture="GeneralizedRCNN",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(
        min_size=192,
        max_size=320,
        channel_order="RGB",
        size_divisor=32,
        pixel_mean=(123.0, 116.0, 103.0),
        pixel_std=(1.0, 1.0, 1.0),
    ),
    thresholds=THRESHOLDS,
    num_classes=2,
    class_names=(),
)


def instances(*rows, masks=None):
    """Rows x1 y1 x2 y2 score class, on an image of 40 x 40."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Instances(
        image_size=(40, 40),
        pred_boxes=table[:, :4].astype(np.float32),
        scores=table[:, 4].astype(np.float32),
        pred_classes=table[:, 5].astype(np.int64),
        pred_masks=masks,
    )


def square(*sides):
    """One mask a side: that many rows of 20 pixels."""
    masks = np.zeros((len(sides), 40, 40), dtype=bool)
    for mask, side in zip(masks, sides, strict=True):
        mask[:side, :20] = True
    return masks


BLACK = np.zeros((40, 40, 3), np.uint8)
ONE = (0, 0, 20, 20, 0.9, 0)
TWO = (20, 20, 39, 39, 0.5, 1)
NAN = float("nan")

# name: (source, export, the word in the fault; "" = within the budget)
CASES = {
    "same": ([ONE, TWO], [ONE, TWO], ""),
    "other order": ([ONE, TWO], [TWO, ONE], ""),
    "none": ([], [], ""),
    "box within": ([ONE], [(0.04, 0, 20, 20, 0.9, 0)], ""),
    "box beyond": ([ONE], [(0.06, 0, 20, 20, 0.9, 0)], "boxes differ by 0.06 px"),
    "box far beyond": ([ONE], [(0, 0, 20, 25, 0.9, 0)], "boxes differ by 5 px"),
    "score within": ([ONE], [(0, 0, 20, 20, 0.90019, 0)], ""),
    "score beyond": ([ONE], [(0, 0, 20, 20, 0.9003, 0)], "scores differ by 0.0003"),
    "class differs": ([ONE], [(0, 0, 20, 20, 0.9, 1)], "2 detections without partner"),
    "lost": ([ONE, TWO], [ONE], "1 detections without partner"),
    "invented": ([ONE], [ONE, TWO], "1 detections without partner"),
    "lost at the score threshold": ([ONE, (20, 20, 39, 39, 0.0509, 1)], [ONE], ""),
    "lost above the score threshold": ([ONE, (20, 20, 39, 39, 0.0511, 1)], [ONE], "1 detections without partner"),
    "invented at the score threshold": ([ONE], [ONE, (20, 20, 39, 39, 0.0509, 1)], ""),
    "lost at a full list's end": (
        [ONE, TWO, (0, 30, 5, 39, 0.3005, 0)],
        [ONE, TWO, (30, 0, 39, 5, 0.3001, 0)],
        "",
    ),
    "lost at the end of a list with room": (
        [ONE, (0, 30, 5, 39, 0.3005, 0)],
        [ONE, (30, 0, 39, 5, 0.3001, 0)],
        "2 detections without partner",
    ),
    "lost amid a full list": (
        [ONE, TWO, (0, 30, 5, 39, 0.3, 0)],
        [(30, 0, 39, 5, 0.9, 1), TWO, (0, 30, 5, 39, 0.3, 0)],
        "2 detections without partner",
    ),
    "score not a number": ([ONE], [(0, 0, 20, 20, NAN, 0)], "not finite"),
    "both scores not a number": ([(0, 0, 20, 20, NAN, 0)], [(0, 0, 20, 20, NAN, 0)], "not finite"),
    "box not a number": ([ONE], [(NAN, 0, 20, 20, 0.9, 0)], "not finite"),
    "box infinite on both sides": (
        [(0, 0, float("inf"), 20, 0.9, 0)],
        [(0, 0, float("inf"), 20, 0.9, 0)],
        "not finite",
    ),
}


def row(a, b):
    return compare("image", a, b, spec=SPEC, budget=BUDGET)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_budget(case):
    a, b, word = case
    found = row(instances(*a), instances(*b))
    assert found.ok == (not word), found.faults
    assert word in "; ".join(found.faults)


# Rows of 20 pixels in a mask: source, export.
MASKS = {
    "same": (20, 20, ""),
    "both empty": (0, 0, ""),
    "a row off": (20, 19, "a mask overlaps by 0.950"),
    "empty on one side": (20, 0, "a mask overlaps by 0.000"),
}


@pytest.mark.parametrize("case", MASKS.values(), ids=MASKS.keys())
def test_masks(case):
    left, right, word = case
    found = row(instances(ONE, masks=square(left)), instances(ONE, masks=square(right)))
    assert found.ok == (not word), found.faults
    assert word in "; ".join(found.faults)


def test_masks_follow_their_boxes_when_the_order_differs():
    a = instances(ONE, TWO, masks=square(20, 5))
    b = instances(TWO, ONE, masks=square(5, 20))
    assert row(a, b).mask_iou == 1.0


def test_masks_on_one_side_only():
    assert "masks on one side only" in row(instances(ONE, masks=square(20)), instances(ONE)).faults


class _Source:
    """A model that answers every image with the same detections."""

    def __init__(self, format, found, spec=SPEC, noisy=None):
        self.format, self.spec, self.found, self.noisy = format, spec, found, noisy or {}


class _Predictor:
    takes_proposals = False
    takes_batches = True

    def __init__(self, source, *, device="cpu"):
        self.spec, self.found, self.noisy = source.spec, source.found, source.noisy

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def batch(self, images, *, proposals=None, noise=0.0, seed=0):
        return [self.noisy.get(seed, self.found) if noise else self.found] * len(images)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(module, "Predictor", _Predictor)

    def run(a, b, images=(BLACK,), spec=SPEC, *, noisy=None, **options):
        return verify(_Source("onnx", b, spec), against=_Source("eager", a, noisy=noisy), images=images, **options)

    return run


def test_report(run):
    report = run(instances(ONE), instances((0.01, 0, 20, 20, 0.9, 0)))
    assert report.ok
    assert report.reasons == []
    report.raise_if_bad()
    assert "onnx against eager: the same" in str(report)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["ok"] is True
    assert found["budget"]["boxes_px"] == 0.05
    assert found["rows"][0]["boxes_px"] == pytest.approx(0.01)
    assert found["rows"][0]["ok"] is True
    assert found["versions"]["d2deploy"]


def test_report_of_a_difference_names_it(run):
    report = run(instances(ONE), instances((1, 0, 20, 20, 0.9, 0)))
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert not report.ok
    assert "DIFFERENT" in str(report)
    assert "array: boxes differ by 1 px" in str(report)
    with pytest.raises(Mismatch, match="boxes differ by 1 px"):
        report.raise_if_bad()
    assert report.to_dict()["ok"] is False


def test_a_tie_is_what_the_source_does_itself_under_noise(run):
    """The export kept the other of two overlapping boxes; the source does so too when its input trembles (seed 3)."""
    other = instances((1, 0, 20, 20, 0.8, 0))
    report = run(instances(ONE), other, noisy={3: other})
    assert report.ok and report.rows[0].is_tie
    assert report.rows[0].boxes_px == 0
    assert " tie" in str(report)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_noise_excuses_nothing_else(run):
    report = run(instances(ONE), instances((1, 0, 20, 20, 0.9, 0)), noisy={3: instances((3, 0, 20, 20, 0.9, 0))})
    assert not report.ok and not report.rows[0].is_tie


def test_numbers_that_are_not_finite_stay_json(run):
    report = run(instances((0, 0, 20, 20, NAN, 0)), instances((0, 0, 20, 20, NAN, 0)))
    assert not report.ok
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report)


def test_no_detection_anywhere_proves_nothing(run):
    report = run(instances(), instances())
    assert all(row.ok for row in report.rows)
    assert not report.ok
    assert "nothing was compared" in report.reasons[0]
    assert "--sample-image" in report.reasons[0]


def test_no_image_proves_nothing(run):
    assert not run(instances(ONE), instances(ONE), images=()).ok


def test_another_config_is_named(run):
    other = dataclasses.replace(SPEC, preprocess=dataclasses.replace(SPEC.preprocess, min_size=800))
    report = run(instances(ONE), instances(ONE), spec=other)
    assert not report.ok
    assert "preprocess min_size is 800 in the export and 192 in the source" in report.reasons[0]


def test_a_batch_is_one_row_an_image_and_progress_is_told(run):
    told = []
    arrays = (BLACK,) * 3
    report = run(
        instances(ONE),
        instances(ONE),
        images=[Sample("batch", arrays), arrays[0]],
        progress=lambda *call: told.append(call),
    )
    assert [row.image for row in report.rows] == ["batch [1/3]", "batch [2/3]", "batch [3/3]", "array"]
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_a_model_that_takes_one_image_is_not_compared_with_a_batch(run, monkeypatch):
    """Padding images to one size changes their borders a little: both run one by one then."""
    sizes = []
    takes = {"eager": True, "onnx": False}

    class Single(_Predictor):
        def __init__(self, source, *, device="cpu"):
            super().__init__(source, device=device)
            self.takes_batches = takes[source.format]

        def batch(self, images, **options):
            sizes.append(len(images))
            return super().batch(images, **options)

    monkeypatch.setattr(module, "Predictor", Single)
    report = run(instances(ONE), instances(ONE), images=[Sample("batch", (BLACK,) * 3)])
    assert report.ok and len(report.rows) == 3 and sizes == [1] * 6
    sizes.clear()
    takes["onnx"] = True
    run(instances(ONE), instances(ONE), images=[Sample("batch", (BLACK,) * 3)])
    assert sizes == [3, 3]


def test_an_unreadable_image_is_the_user_s_error(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        run(instances(ONE), instances(ONE), images=[tmp_path / "a.jpg"])


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (80, 80), (1, 1), (1, 50), (50, 1), (3000, 2)], ids=str)
def test_samples_of_an_image(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    samples = {sample.name: sample.images for sample in sample_images(image, SPEC)}
    shapes = [np.asarray(array).shape[:2] for images in samples.values() for array in images]
    assert all(min(shape) >= 1 for shape in shapes)
    assert samples["sample"][0] is image
    assert np.asarray(samples["one pixel wide"][0]).shape[1] == 1
    assert any(width > height for height, width in shapes)
    assert size[0] == 1 or any(height > width for height, width in shapes)
    assert len(samples["batch"]) == 3


def test_the_blank_sample_has_the_mean_colour_in_bgr():
    blank = np.asarray({sample.name: sample.images[0] for sample in sample_images(None, SPEC)}["blank"])
    assert (blank == [103, 116, 123]).all()


def test_without_a_sample_image_the_demo_s_are_used():
    names = [sample.name for sample in sample_images(None, SPEC)]
    assert [f"demo {path.stem}" for path in demo_images()] == names[:4]
    assert {"one pixel wide", "blank", "batch", "wide, half scale"} <= set(names)
