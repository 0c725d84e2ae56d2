"""How far two surfaces differ, and that compare says so."""

import dataclasses

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, Preprocess
from d2deploy.results import DensePoseChart, DensePoseVertices, Instances
from d2deploy.workflows.compare import compare
from d2deploy.workflows.report import Budget
from d2deploy.workflows.surface import surface_difference

SPEC = ModelSpec(
    meta_architecture="GeneralizedRCNN",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(
        min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=None,
    num_classes=1,
    class_names=(),
)
LABELS = np.zeros((100, 50), np.uint8)
LABELS[10:60, 10:30] = 4  # 1000 pixels
UV = np.random.default_rng(0).uniform(size=(2, 100, 50)).astype(np.float32)
CHART = DensePoseChart(x=7, y=9, labels=LABELS, uv=UV)
MESH = DensePoseVertices(x=7, y=9, vertices=np.where(LABELS > 0, 2000, -1), mesh="cat")


def other_part(pixels):
    labels = LABELS.copy()
    labels[10 : 10 + pixels, 10] = 5
    return dataclasses.replace(CHART, labels=labels)


def moved_uv(by):
    uv = UV.copy()
    uv[1, 20, 20] += by
    uv[:, 0, 0] += 9  # not on the body
    return dataclasses.replace(CHART, uv=uv)


def test_the_share_of_the_body_counts() -> None:
    assert surface_difference(CHART, CHART) == (0, 0)
    assert surface_difference(CHART, other_part(5)) == (0.005, 0)
    assert surface_difference(CHART, moved_uv(0.25))[1] == pytest.approx(0.25)
    other = dataclasses.replace(MESH, vertices=np.where(LABELS > 0, 2001, -1))
    assert surface_difference(MESH, MESH) == (0, None) and surface_difference(MESH, other) == (1, None)


def test_a_box_that_begins_a_pixel_apart_is_laid_on_its_place() -> None:
    later = dataclasses.replace(CHART, x=8, y=8, labels=LABELS[:-1, 1:], uv=UV[:, :-1, 1:])
    down = dataclasses.replace(later, y=9)
    assert surface_difference(CHART, down) == surface_difference(down, CHART) == (0, 0)
    share, _ = surface_difference(CHART, later)  # a row of 20 pixels at the top and one at the bottom
    assert share == pytest.approx(40 / 1020)


def test_nothing_on_either_side() -> None:
    nothing = dataclasses.replace(CHART, labels=LABELS * 0)
    assert surface_difference(nothing, nothing) == (0, None)
    assert surface_difference(nothing, CHART) == (1, None)


def detection(found):
    return Instances(
        image_size=(200, 200),
        pred_boxes=np.array([[7, 9, 57, 109]], np.float32),
        scores=np.array([0.9], np.float32),
        pred_classes=np.array([0]),
        pred_densepose=None if found is None else (found,),
    )


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (other_part(10), ""),
        (other_part(11), "parts of a surface differ by 1.100%, allowed are 1.000%"),
        (moved_uv(0.009), ""),
        (moved_uv(0.02), "coordinates on a surface differ by 0.02, allowed are 0.01"),
        (moved_uv(np.nan), "coordinates on a surface differ by nan"),
        (None, "densepose on one side only"),
    ],
)
def test_compare_says_what_is_over_the_budget(found, word) -> None:
    row = compare("image", detection(CHART), detection(found), spec=SPEC, budget=Budget())
    assert row.ok == (not word) and word in "; ".join(row.faults), row.faults
