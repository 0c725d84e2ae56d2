"""Rotated boxes from the network's input to the image: scaled, clipped, dropped as detectron2 does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2deploy.postprocess import Frame, rescale_boxes, to_instances
from d2deploy.results import corners

GOLDEN = Path(__file__).parents[1] / "golden/detectron2/extra/rrpn_R_50_FPN"
NAN = float("nan")


@pytest.mark.parametrize("image", ["china", "noise"])
def test_detectron2s_own_postprocessing(image):
    arrays = np.load(GOLDEN / "golden.npz")
    info = json.loads((GOLDEN / "golden.json").read_text())["images"][image]
    raw = {name: arrays[f"{image}/raw/{name}"] for name in ("boxes", "scores", "classes")}
    found = to_instances(
        raw | {"image_index": np.zeros(len(raw["boxes"]), np.int64)},
        input_size=tuple(arrays[f"{image}/input/hw"].tolist()),
        image_size=(info["height"], info["width"]),
    )
    expected = arrays[f"{image}/det/boxes"]
    assert found.pred_boxes.shape == expected.shape
    assert len(expected) > 20
    np.testing.assert_allclose(found.pred_boxes, expected, atol=1e-3)
    np.testing.assert_array_equal(found.scores, arrays[f"{image}/det/scores"])
    np.testing.assert_array_equal(found.pred_classes, arrays[f"{image}/det/classes"])


def rescaled(box, input_size=(10, 10), image_size=(10, 10)):
    boxes, kept = rescale_boxes(np.array([box], np.float32), Frame(input_size=input_size, image_size=image_size))
    return boxes[0].tolist(), bool(kept[0])


# box on 10 x 10, the image's size -> box, kept
CASES: dict[str, Any] = {
    "as it was": ([5, 5, 4, 2, 30], (10, 10), [5, 5, 4, 2, 30], True),
    "twice": ([5, 5, 4, 2, 30], (20, 20), [10, 10, 8, 4, 30], True),
    "wider": ([5, 5, 4, 2, 0], (10, 30), [15, 5, 12, 2, 0], True),
    "wider, turned by a quarter": ([5, 5, 4, 2, 90], (10, 30), [15, 5, 4, 6, 90], True),
    "upright is clipped": ([1, 5, 4, 2, 0], (10, 10), [1.5, 5, 3, 2, 0], True),
    "nearly upright is clipped, too": ([1, 5, 4, 2, 0.9], (10, 10), [1.5, 5, 3, 2, 0.9], True),
    "turned is not": ([1, 5, 4, 2, 1.1], (10, 10), [1, 5, 4, 2, 1.1], True),
    "upside down is not upright": ([1, 5, 4, 2, 180], (10, 10), [1, 5, 4, 2, -180], True),
    "angles have one form": ([5, 5, 4, 2, 270], (10, 10), [5, 5, 4, 2, -90], True),
    "outside, upright": ([-5, 5, 4, 2, 0], (10, 10), [0, 5, 0, 2, 0], False),
    "no height": ([5, 5, 4, 0, 45], (10, 10), [5, 5, 4, 0, 45], False),
    "not a number": ([5, 5, NAN, 2, 45], (10, 10), [5, 5, NAN, 2, 45], False),
}


@pytest.mark.parametrize("case", CASES)
def test_scaling_and_clipping(case):
    box, image_size, expected, is_kept = CASES[case]
    found, kept = rescaled(box, image_size=image_size)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert kept == is_kept


def test_equal_scales_keep_the_shape():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(3, 7, (50, 2)), rng.uniform(1, 3, (50, 2)), rng.uniform(-179, 179, (50, 1))], 1)
    boxes = boxes[np.abs(boxes[:, 4]) > 1].astype(np.float32)
    found, kept = rescale_boxes(boxes, Frame(input_size=(10, 10), image_size=(30, 30)))
    assert kept.all()
    np.testing.assert_allclose(corners(found), corners(boxes) * 3, atol=1e-3)


def test_no_box_at_all():
    boxes, kept = rescale_boxes(np.zeros((0, 5), np.float32), Frame(input_size=(4, 4), image_size=(8, 8)))
    assert (boxes.shape, boxes.dtype, kept.shape) == ((0, 5), np.float32, (0,))
