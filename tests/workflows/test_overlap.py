"""Overlaps of rotated boxes, against the shapes themselves, and of segments."""

import numpy as np
import pytest

from d2deploy.results import corners
from d2deploy.workflows.overlap import box_iou, common_pixels, grown

RNG = np.random.default_rng(3)


def boxes(count):
    return np.concatenate(
        [RNG.uniform(20, 60, (count, 2)), RNG.uniform(4, 50, (count, 2)), RNG.uniform(-180, 180, (count, 1))], axis=1
    )


def filled(box, side=80, per_pixel=8):
    """The points of a fine grid that lie in a rotated box."""
    at = (np.arange(side * per_pixel) + 0.5) / per_pixel
    x, y = np.meshgrid(at - box[0], at - box[1])
    cosine, sine = np.cos(np.deg2rad(box[4])), np.sin(np.deg2rad(box[4]))
    return (np.abs(x * cosine - y * sine) <= box[2] / 2) & (np.abs(x * sine + y * cosine) <= box[3] / 2)


def test_rotated_overlap_is_that_of_the_shapes():
    a, b = boxes(6), boxes(6)
    found = box_iou(a, b)
    for i, j in np.ndindex(6, 6):
        left, right = filled(a[i], side=100), filled(b[j], side=100)
        expected = (left & right).sum() / (left | right).sum()
        assert abs(found[i, j] - expected) < 0.01
    assert found.max() > 0.2


def test_angle_0_is_an_upright_box():
    a, b = boxes(30), boxes(40)
    a[:, 4], b[:, 4] = 0, 180
    upright = [np.concatenate([x[:, :2] - x[:, 2:4] / 2, x[:, :2] + x[:, 2:4] / 2], axis=1) for x in (a, b)]
    np.testing.assert_allclose(box_iou(a, b), box_iou(*upright), atol=1e-12)


def test_a_box_overlaps_itself_wholly_however_it_is_said():
    a = boxes(40)
    turned = a + np.array([0, 0, 0, 0, 360])
    on_its_side = a[:, [0, 1, 3, 2, 4]] + np.array([0, 0, 0, 0, 90])
    for other in (a, turned, on_its_side):
        np.testing.assert_allclose(np.diag(box_iou(a, other)), 1, atol=1e-9)
    np.testing.assert_allclose(box_iou(a, a), box_iou(a, a).T, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_overlap_nothing(bad):
    a = boxes(2)
    a[0, 2] = bad
    assert box_iou(a, a)[0].tolist() == [0, 0]
    assert box_iou(a, a)[1, 1] == pytest.approx(1)


def test_no_box_at_all():
    assert box_iou(np.zeros((0, 5)), boxes(3)).shape == (0, 3)
    assert box_iou(np.zeros((2, 4)), np.zeros((0, 4))).shape == (2, 0)


def test_growing_moves_every_side_outwards():
    assert grown(np.array([[1, 2, 3, 4]]), 0.5).tolist() == [[0.5, 1.5, 3.5, 4.5]]
    box = np.array([[5.0, 5, 4, 2, 90]])
    np.testing.assert_allclose(corners(grown(box, 1))[0], [[3, 8], [3, 2], [7, 2], [7, 8]], atol=1e-12)


def test_common_pixels_of_any_ids():
    a, b = np.array([[1, 1, 1000], [-1, 0, 0]]), np.array([[2, 2, 2], [0, 7, 7]])
    assert common_pixels(a, b) == {(1, 2): 2, (1000, 2): 1, (-1, 0): 1, (0, 7): 2}
