"""From network outputs to detections: against a direct float64 sampling, and against detectron2's own results."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.postprocess import Frame, paste_masks, rescale_boxes, to_instances

CONFIGS = ("mask_rcnn_R_50_FPN_1x", "mask_rcnn_R_50_FPN_1x_giou", "mask_rcnn_R_50_FPN_3x")


def sampled(cells, box, image_size):
    """The definition, pixel by pixel: the four nearest cells, each with its bilinear weight, zero beyond."""
    (height, width), side = image_size, len(cells)
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    values = np.zeros(image_size)
    for y in range(height):
        for x in range(width):
            u = (x + 0.5 - x1) / (x2 - x1) * side - 0.5
            v = (y + 0.5 - y1) / (y2 - y1) * side - 0.5
            for row in (np.floor(v), np.floor(v) + 1):
                for column in (np.floor(u), np.floor(u) + 1):
                    if 0 <= row < side and 0 <= column < side:
                        weight = (1 - abs(v - row)) * (1 - abs(u - column))
                        values[y, x] += weight * cells[int(row), int(column)]
    return values


def assert_pasted(cells, box, image_size):
    values = sampled(cells, box, image_size)
    mask = paste_masks(cells[None], np.array([box], np.float32), image_size)[0]
    clear = np.abs(values - 0.5) > 1e-4  # nearer to the threshold float32 may decide otherwise
    np.testing.assert_array_equal(mask[clear], (values >= 0.5)[clear])
    return values, clear


@st.composite
def boxes(draw):
    x1, y1 = (draw(st.floats(-30, 25, width=32)) for _ in range(2))
    width, height = (draw(st.floats(0.125, 90, width=32)) for _ in range(2))
    return np.array([x1, y1, x1 + width, y1 + height], np.float32)


@given(boxes(), st.sampled_from([1, 2, 7, 28]), st.integers(0, 2**32 - 1))
def test_pasting_is_bilinear_sampling_at_pixel_centres(box, side, seed):
    assert_pasted(np.random.default_rng(seed).random((side, side), np.float32), box, (13, 17))


# Where the random ones may not reach
BOXES = {
    "inside": [3.2, 2.9, 11.7, 9.1],
    "whole image": [0, 0, 17, 13],
    "far larger than the image": [-400, -3000, 500, 4000],
    "one pixel": [4, 5, 5, 6],
    "less than a pixel, on its centre": [4.4, 5.4, 4.6, 5.6],
    "less than a pixel, off every centre": [4.6, 5.6, 4.9, 5.9],
    "hardly there": [0, 0, 1e-40, 9],
    "left of the image": [-20, 2, -5, 8],
    "below the image": [2, 20, 8, 30],
    "across a corner": [-3.3, -2.2, 4.1, 5.6],
}


@pytest.mark.parametrize("case", BOXES)
@pytest.mark.parametrize("side", [14, 28])
def test_boxes_of_all_kinds(case, side):
    cells = np.random.default_rng(5).random((side, side), np.float32)
    _, clear = assert_pasted(cells, BOXES[case], (13, 17))
    assert clear.mean() > 0.95


def test_a_full_mask_fills_the_pixels_whose_centres_lie_in_its_box():
    box = [3.2, 2.6, 11.7, 9.1]
    mask = paste_masks(np.ones((1, 28, 28), np.float32), np.array([box], np.float32), (13, 17))[0]
    expected = np.zeros((13, 17), bool)
    expected[3:9, 3:12] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_threshold_itself_counts():
    half = np.full((1, 4, 4), 0.5, np.float32)
    assert paste_masks(half, np.array([[-9, -9, 20, 20]], np.float32), (5, 5)).all()
    assert not paste_masks(np.nextafter(half, 0), np.array([[-9, -9, 20, 20]], np.float32), (5, 5)).any()


@pytest.mark.parametrize(
    "box",
    [
        [3, 3, 3, 8],
        [8, 8, 3, 3],
        [np.nan, 0, 5, 5],
        [0, 0, np.inf, 5],
        [-1e30, -1e30, -1e29, -1e29],
        [1e30, 0, 2e30, 5],
    ],
    ids=str,
)
def test_a_box_without_area_or_number_gives_an_empty_mask(box):
    assert not paste_masks(np.ones((1, 28, 28), np.float32), np.array([box], np.float32), (13, 17)).any()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_zero_masks_and_no_masks(count):
    masks = paste_masks(
        np.zeros((count, 28, 28), np.float32), np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1)), (13, 17)
    )
    assert (masks.shape, masks.dtype, masks.any()) == ((count, 13, 17), bool, False)


def test_half_precision_probabilities_are_taken():
    cells = np.random.default_rng(0).random((1, 28, 28)).astype(np.float16)
    box = np.array([[1, 1, 15, 12]], np.float32)
    np.testing.assert_array_equal(
        paste_masks(cells, box, (13, 17)), paste_masks(cells.astype(np.float32), box, (13, 17))
    )


def outputs(boxes, *, index=None, probs=None):
    count = len(boxes)
    made = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.linspace(1, 0.5, count, dtype=np.float32),
        "classes": np.arange(count),
        "image_index": np.array([0] * count if index is None else index, np.int64),
    }
    return made if probs is None else {**made, "mask_probs": probs}


def test_each_axis_has_its_own_scale():
    frame = Frame(input_size=(10, 10), image_size=(30, 20))
    scaled, kept = rescale_boxes(np.array([[1, 2, 3, 4]], np.float32), frame)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[2, 6, 6, 12]]
    assert kept.tolist() == [True]


def test_boxes_are_clipped_then_dropped_when_empty_with_all_that_belongs_to_them():
    rows = [[-5, -5, 4, 4], [10, 2, 14, 6], [3, 3, 3, 5], [6, 6, 99, 99], [np.nan, 0, 1, 1]]
    probs = np.ones((5, 28, 28), np.float32) * np.array([1, 1, 1, 0, 1], np.float32)[:, None, None]
    found = to_instances(outputs(rows, probs=probs), input_size=(10, 10), image_size=(20, 20))
    assert found.pred_boxes.tolist() == [[0, 0, 8, 8], [12, 12, 20, 20]]
    assert found.pred_classes.tolist() == [0, 3]
    assert found.scores.tolist() == [1.0, 0.625]
    assert found.pred_masks.sum(axis=(1, 2)).tolist() == [64, 0]  # pasted into the clipped box, as detectron2 does
    assert found.image_size == (20, 20)


def test_each_image_of_a_batch_gets_its_own():
    rows = outputs([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], index=[0, 2, 2])
    counts = [len(to_instances(rows, input_size=(9, 9), image_size=(9, 9), image_index=i)) for i in range(3)]
    assert counts == [1, 0, 2]
    last = to_instances(rows, input_size=(9, 9), image_size=(9, 9), image_index=2)
    assert last.pred_boxes[:, 2].tolist() == [2, 3]
    assert last.pred_masks is None


@pytest.mark.parametrize("with_masks", [True, False])
def test_no_detection_at_all(with_masks):
    nothing = outputs([], probs=np.zeros((0, 28, 28), np.float32) if with_masks else None)
    found = to_instances(nothing, input_size=(10, 12), image_size=(20, 24))
    assert (len(found), found.pred_boxes.shape) == (0, (0, 4))
    assert found.pred_boxes.dtype == found.scores.dtype == np.float32
    assert found.pred_classes.dtype == np.int64
    assert (found.pred_masks.shape if with_masks else found.pred_masks) == ((0, 20, 24) if with_masks else None)


@pytest.mark.parametrize("config", CONFIGS)
def test_detectron2s_raw_outputs_become_its_detections(config, golden):
    folder = golden / "detectron2/COCO-InstanceSegmentation" / config
    facts = json.loads((folder / "golden.json").read_text())
    assert facts["images"]
    with np.load(folder / "golden.npz") as arrays:
        for name, about in facts["images"].items():
            stored = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays.files if key.startswith(f"{name}/")}
            assert_is_detectron2s(stored, (about["height"], about["width"]))


def assert_is_detectron2s(stored, image_size):
    input_size = tuple(stored["input/hw"].tolist())
    raw = {
        "boxes": stored["raw/boxes"],
        "scores": stored["raw/scores"],
        "classes": stored["raw/classes"],
        "image_index": np.zeros(len(stored["raw/boxes"]), np.int64),
    }
    found = to_instances(raw, input_size=input_size, image_size=image_size)
    np.testing.assert_allclose(found.pred_boxes, stored["det/boxes"], atol=1e-3)
    np.testing.assert_array_equal(found.pred_classes, stored["det/classes"])
    np.testing.assert_array_equal(found.scores, stored["det/scores"])
    # Only the first masks are stored, and their probabilities in half precision.
    count = len(stored["raw/masks"])
    first = {key: value[:count] for key, value in raw.items()} | {"mask_probs": stored["raw/masks"]}
    masks = to_instances(first, input_size=input_size, image_size=image_size).pred_masks
    bits = np.unpackbits(stored["det/masks_bits"], axis=1, count=int(np.prod(image_size)))
    expected = bits.reshape(-1, *image_size)[:count].astype(bool)
    assert masks.shape == expected.shape
    assert expected.any()
    assert (masks != expected).mean(axis=(1, 2)).max() <= 1e-3
