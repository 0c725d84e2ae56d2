"""Surfaces in a picture: each part has its colour, and only the body is painted."""

import dataclasses

import numpy as np
import pytest

from d2deploy.draw import colour_of, draw_instances
from d2deploy.results import DensePoseChart, DensePoseVertices, Instances

GREY = 128
LABELS = np.zeros((300, 200), np.uint8)
LABELS[40:140, 50:150], LABELS[140:260, 50:150] = 3, 7
VERTICES = np.where(LABELS > 0, LABELS.astype(np.int32) * 1000, -1)
CHART = DensePoseChart(x=100, y=150, labels=LABELS, uv=np.zeros((2, 300, 200), np.float32))
MESH = DensePoseVertices(x=100, y=150, vertices=VERTICES, mesh="smpl_27554")


def picture(found, size=(600, 800)):
    instances = Instances(
        image_size=size,
        pred_boxes=np.array([[100, 150, 300, 450]], np.float32),
        scores=np.array([0.9], np.float32),
        pred_classes=np.array([0]),
        pred_densepose=(found,),
    )
    return np.asarray(draw_instances(np.full((*size, 3), GREY, np.uint8), instances)).astype(float)


def test_each_part_has_its_colour() -> None:
    drawn = picture(CHART)
    for y, part in ((240, 3), (350, 7)):
        assert np.corrcoef(drawn[y, 200] - GREY, np.array(colour_of(part), float) - GREY)[0, 1] > 0.99


@pytest.mark.parametrize("found", [CHART, MESH])
def test_only_the_body_is_painted(found) -> None:
    changed = (picture(found) != GREY).any(axis=2)[155:445, 105:295]  # inside the box's line
    assert (changed == (LABELS[5:295, 5:195] > 0)).all()
    nothing = dataclasses.replace(found, **{"labels": LABELS * 0} if found is CHART else {"vertices": VERTICES * 0 - 1})
    assert not (picture(nothing) != GREY).any(axis=2)[155:445, 105:295].any()


def test_vertices_far_apart_differ() -> None:
    drawn = picture(MESH)
    assert np.abs(drawn[240, 200] - drawn[350, 200]).max() > 20


def test_small_images_are_enlarged_with_it() -> None:
    small = dataclasses.replace(CHART, x=5, y=5, labels=LABELS[::10, ::10])
    instances = Instances(
        image_size=(40, 60),
        pred_boxes=np.array([[5, 5, 25, 35]], np.float32),
        scores=np.array([0.9], np.float32),
        pred_classes=np.array([0]),
        pred_densepose=(small,),
    )
    drawn = np.asarray(draw_instances(np.full((40, 60, 3), GREY, np.uint8), instances))
    factor = len(drawn) // 40
    assert factor > 1
    assert (drawn[20 * factor, 15 * factor] != GREY).any()
