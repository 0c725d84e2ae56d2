"""Panoptic-DeepLab's picture against its rules, pixel by pixel (against detectron2: models/test_parity_deeplab.py)."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2deploy.artifact import PanopticDeepLabRule
from d2deploy.postprocess.centers import find_centers, group_pixels, nearest
from d2deploy.postprocess.frame import Frame
from d2deploy.postprocess.panoptic_deeplab import VOID, to_panoptic_deeplab
from d2deploy.results import PanopticResult

RULE = PanopticDeepLabRule(
    thing_ids=(2, 3), stuff_area=4, center_threshold=0.1, nms_kernel=3, top_k=6, predict_instances=True
)
seeds = st.integers(0, 2**32 - 1)


def made(seed: int, height: int = 9, width: int = 12, classes: int = 4) -> dict[str, np.ndarray]:
    """Outputs of a network for one image, in steps so that equal values occur."""
    random = np.random.default_rng(seed)
    return {
        "sem_seg": random.integers(0, 6, (1, classes, height, width)).astype(np.float32),
        "center": (random.integers(-2, 9, (1, 1, height, width)) / 8).astype(np.float32),
        "offset": random.integers(-4, 5, (1, 2, height, width)).astype(np.float32),
    }


def run(outputs: dict[str, np.ndarray], rule: PanopticDeepLabRule = RULE, **frame: Any) -> PanopticResult:
    size = outputs["sem_seg"].shape[2:]
    return to_panoptic_deeplab(outputs, rule, Frame(**{"input_size": size, "image_size": size, **frame}))


def peaks_one_by_one(heatmap: np.ndarray, rule: PanopticDeepLabRule) -> list[tuple[int, int]]:
    margin = rule.nms_kernel // 2
    peaks = []
    for (y, x), value in np.ndenumerate(heatmap):
        around = heatmap[max(y - margin, 0) : y + margin + 1, max(x - margin, 0) : x + margin + 1]
        if value > rule.center_threshold and value == around.max():
            peaks.append((y, x))
    values = sorted((heatmap[peak] for peak in peaks), reverse=True)
    cut = values[rule.top_k - 1] if len(values) >= rule.top_k else 0
    return [peak for peak in peaks if heatmap[peak] > cut]


def picture_pixel_by_pixel(outputs: dict[str, np.ndarray], rule: PanopticDeepLabRule) -> np.ndarray:
    labels = outputs["sem_seg"][0].argmax(axis=0)
    centers = peaks_one_by_one(outputs["center"][0, 0], rule)
    owned: dict[int, list[tuple[int, int]]] = {}
    for (y, x), label in np.ndenumerate(labels):
        if label in rule.thing_ids and centers:
            to_y, to_x = outputs["offset"][0, :, y, x] + (y, x)
            distances = [(to_y - cy) ** 2 + (to_x - cx) ** 2 for cy, cx in centers]
            owned.setdefault(distances.index(min(distances)), []).append((y, x))
    picture = np.full(labels.shape, VOID)
    seen: Counter[int] = Counter()
    for _, pixels in sorted(owned.items()):
        votes = Counter(int(labels[pixel]) for pixel in pixels)
        label = min(votes, key=lambda each: (-votes[each], each))
        seen[label] += 1
        for pixel in pixels:
            picture[pixel] = label * 1000 + seen[label]
    for label in set(labels.ravel().tolist()) - set(rule.thing_ids):
        if np.count_nonzero(labels == label) >= rule.stuff_area:
            picture[labels == label] = label * 1000
    return picture


@given(seeds)
def test_the_picture_is_that_of_the_rules(seed: int) -> None:
    outputs = made(seed)
    found = run(outputs)
    expected = picture_pixel_by_pixel(outputs, RULE)
    assert found.panoptic_seg.dtype == np.int32
    assert (found.panoptic_seg == expected).all()
    assert {segment.id for segment in found.segments} == set(np.unique(expected).tolist()) - {VOID}


@given(seeds, st.sampled_from([1, 3, 5, 7, 11, 41]), st.integers(1, 40), st.sampled_from([-1.0, 0.1, 0.5]))
def test_peaks(seed: int, kernel: int, top_k: int, threshold: float) -> None:
    rule = replace(RULE, nms_kernel=kernel, top_k=top_k, center_threshold=threshold)
    heatmap = made(seed)["center"][0, 0]
    at_least_0 = replace(rule, center_threshold=max(threshold, 0))  # detectron2 keeps nothing below 0
    assert find_centers(heatmap, rule).tolist() == [list(peak) for peak in peaks_one_by_one(heatmap, at_least_0)]


@settings(max_examples=30)
@given(seeds, st.integers(1, 60), st.sampled_from([0.0, 3.0, 300.0]))
def test_nearest_leaves_no_centre_out(seed: int, count: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    centers = random.integers(0, 400, (count, 2))
    y, x = (random.uniform(100, 164, (2, 500)) + random.normal(0, spread, (2, 500))).astype(np.float32)
    found = nearest(y, x, centers)
    distances = np.hypot(y[:, None] - centers[:, 0], x[:, None] - centers[:, 1])
    assert np.abs(distances[np.arange(500), found] - distances.min(axis=1)).max() <= 1e-3


def test_grouping_over_many_tiles() -> None:
    """Two centres, offsets of zero: the border is where both are as far."""
    owners = group_pixels(np.zeros((2, 10, 300), np.float32), np.array([[5, 40], [5, 240]]), np.ones((10, 300), bool))
    assert (owners[:, :141] == 1).all() and (owners[:, 141:] == 2).all()


def test_instances() -> None:
    outputs = made(1, classes=4)
    outputs["sem_seg"][:] = 0
    outputs["sem_seg"][0, 0] = 5
    outputs["sem_seg"][0, 2, 2:6, 3:8] = 9
    outputs["center"][:], outputs["offset"][:] = 0, 0
    outputs["center"][0, 0, 4, 5] = 0.5
    found = run(outputs)
    assert found.instances is not None and found.instances.pred_masks is not None
    assert found.instances.pred_boxes.tolist() == [[3, 2, 8, 6]]
    assert found.instances.pred_classes.tolist() == [2]
    assert found.instances.pred_masks[0].sum() == 20
    # The middle of rows 2 to 5 and columns 3 to 7, rounded down, is row 3 and column 5: beside the peak.
    assert found.instances.scores[0] == 0
    outputs["center"][0, 0, 3, 5] = 0.25
    probability = np.exp(9) / (np.exp(9) + np.exp(5) + 2)
    (score,) = run(outputs).instances.scores.tolist()
    assert score == pytest.approx(0.25 * probability, rel=1e-5)


@given(seeds)
def test_instances_are_the_things_of_the_picture(seed: int) -> None:
    found = run(made(seed))
    assert found.instances is not None and found.instances.pred_masks is not None
    things = [segment for segment in found.segments if segment.is_thing]
    assert [segment.instance_id for segment in things] == list(range(len(found.instances)))
    assert (np.diff(found.instances.scores) <= 0).all()
    for row, segment in enumerate(things):
        mask = found.panoptic_seg == segment.id
        assert (found.instances.pred_masks[row] == mask).all()
        y, x = np.nonzero(mask)
        assert found.instances.pred_boxes[row].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert found.instances.pred_classes[row] == segment.category_id == segment.id // 1000
        assert found.instances.scores[row] == np.float32(segment.score)


def test_nothing_but_stuff() -> None:
    outputs = made(0)
    outputs["center"][:] = 0
    found = run(outputs)
    things = np.isin(found.sem_seg.labels, RULE.thing_ids)
    assert (found.panoptic_seg[things] == VOID).all()
    assert not any(segment.is_thing for segment in found.segments)
    assert found.instances is not None and found.instances.pred_masks is not None
    assert len(found.instances) == 0
    assert found.instances.pred_masks.shape == (0, 9, 12) and found.instances.pred_boxes.shape == (0, 4)


def test_without_instances() -> None:
    with_them, without = run(made(3)), run(made(3), replace(RULE, predict_instances=False))
    assert without.instances is None
    assert (with_them.panoptic_seg == without.panoptic_seg).all()
    assert all(segment.score is None and segment.instance_id is None for segment in without.segments)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (30, 1), (65, 2)])
def test_thin_images(height: int, width: int) -> None:
    outputs = made(2, height, width)
    assert (run(outputs).panoptic_seg == picture_pixel_by_pixel(outputs, RULE)).all()


def test_the_image_is_cut_out_of_the_padded_batch_and_resized() -> None:
    outputs = {name: np.concatenate([maps * 0, maps]) for name, maps in made(4).items()}
    found = run(outputs, input_size=(6, 8), image_size=(12, 16), index=1)
    assert found.panoptic_seg.shape == found.sem_seg.labels.shape == (12, 16)
    cut = {name: maps[1:, :, :6, :8] for name, maps in outputs.items()}
    again = run(cut, input_size=(6, 8), image_size=(12, 16))
    assert (found.panoptic_seg == again.panoptic_seg).all()
    outputs["center"][1, :, 6:] = 9
    assert (run(outputs, input_size=(6, 8), image_size=(12, 16), index=1).panoptic_seg == found.panoptic_seg).all()


def test_an_offset_that_is_no_number_harms_nobody() -> None:
    outputs = made(5)
    expected = run(outputs).panoptic_seg
    thing = tuple(np.argwhere(np.isin(outputs["sem_seg"][0].argmax(axis=0), RULE.thing_ids))[0])
    outputs["offset"][(0, 0, *thing)] = np.nan
    found = run(outputs).panoptic_seg
    assert found.shape == expected.shape
    assert np.isin(found // 1000, expected // 1000).all()
