"""Pictures of classes and segments, rotated boxes and proposals. How they look was looked at."""

import numpy as np
import pytest

from d2deploy.draw import colour_of, draw_instances, draw_panoptic, draw_proposals, draw_result, draw_semantic
from d2deploy.results import Instances, PanopticResult, Proposals, Segment, SemanticResult

GREY = 128


def canvas(height=600, width=800):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def semantic(labels, channels=3):
    logits = np.stack([np.equal(labels, channel).astype(np.float32) for channel in range(channels)])
    return SemanticResult(image_size=labels.shape, logits=logits)


def halves(height=600, width=800):
    labels = np.zeros((height, width), np.int64)
    labels[:, width // 2 :] = 2
    return labels


def tint(picture, y, x):
    return np.asarray(picture)[y, x].astype(float) - GREY


def is_tinted(picture, y, x, colour):
    return np.corrcoef(tint(picture, y, x), np.array(colour, float) - GREY)[0, 1] > 0.99


def test_every_class_has_its_colour_and_its_name():
    picture = draw_semantic(canvas(), semantic(halves()), ("a", "b", "c"))
    assert (picture.mode, picture.size) == ("RGB", (800, 600))
    assert is_tinted(picture, 100, 100, colour_of(0))
    assert is_tinted(picture, 100, 700, colour_of(2))
    unnamed, named = (np.asarray(draw_semantic(canvas(), semantic(halves()), names)) for names in ((), ("a", "b", "c")))
    assert (unnamed != named).any()
    middle = named[250:350, 150:250]
    assert len(np.unique(middle.reshape(-1, 3), axis=0)) > 5  # a name


def test_what_is_too_small_for_a_name_has_none():
    labels = halves()
    labels[:5, :5] = 1
    with_speck = np.asarray(draw_semantic(canvas(), semantic(labels)))
    without = np.asarray(draw_semantic(canvas(), semantic(halves())))
    assert (with_speck != without).any(axis=2)[20:].sum() == 0


def segments(*rows):
    """Segments (is thing, category, left, right) of columns, things with a score."""
    picture = np.zeros((600, 800), np.int32)
    made = []
    for number, (is_thing, category, left, right) in enumerate(rows, start=1):
        picture[100:500, left:right] = number
        made.append(Segment(id=number, is_thing=is_thing, category_id=category, score=0.9 if is_thing else None))
    return PanopticResult(
        image_size=picture.shape,
        panoptic_seg=picture,
        segments=tuple(made),
        sem_seg=semantic(halves()),
        instances=None,
    )


def test_things_are_outlined_and_stuff_has_other_colours():
    picture = draw_panoptic(canvas(), segments((True, 0, 0, 300), (False, 0, 400, 800)), ("cat",), ("sky",))
    assert is_tinted(picture, 150, 150, colour_of(0))
    assert not is_tinted(picture, 150, 700, colour_of(0))
    assert np.asarray(picture)[300, 299].tolist() == list(colour_of(0))
    assert (np.asarray(picture)[50] == GREY).all()


def test_two_things_of_a_kind_can_be_told_apart():
    picture = draw_panoptic(canvas(), segments((True, 0, 0, 300), (True, 0, 300, 600)))
    assert np.abs(tint(picture, 150, 100) - tint(picture, 150, 500)).max() > 20


def test_a_segment_without_pixels_is_passed_over():
    assert draw_panoptic(canvas(), segments((True, 0, 0, 0))).size == (800, 600)


def rotated(*boxes):
    return Instances(
        image_size=(600, 800),
        pred_boxes=np.array(boxes, np.float32).reshape(-1, 5),
        scores=np.full(len(boxes), 0.9, np.float32),
        pred_classes=np.zeros(len(boxes), np.int64),
    )


def test_a_rotated_box_is_a_turned_rectangle():
    changed = (np.asarray(draw_instances(canvas(), rotated([400, 300, 200, 100, 90]))) != GREY).any(axis=2)
    for y, x in ((200, 400), (399, 400), (300, 350), (300, 449)):  # the middles of its sides
        assert changed[y - 3 : y + 4, x - 3 : x + 4].any()
    assert not changed[280:320, 320:340].any() and not changed[280:320, 380:420].any()


def test_proposals_are_the_best_thin_boxes_without_names():
    boxes = np.array([[50 + i, 50 + i, 400 + i, 300 + i] for i in range(100)], np.float32)
    found = Proposals(
        image_size=(600, 800), proposal_boxes=boxes[::-1].copy(), objectness_logits=np.arange(100, dtype=np.float32)
    )
    changed = (np.asarray(draw_proposals(canvas(), found)) != GREY).any(axis=2)
    assert changed[50, 200] and changed[99, 200] and not changed[103, 200]
    assert not changed[:48].any()


RESULTS = {
    "instances": rotated([10, 10, 5, 5, 30]),
    "proposals": Proposals(
        image_size=(600, 800), proposal_boxes=np.ones((1, 5), np.float32), objectness_logits=np.ones(1, np.float32)
    ),
    "semantic": semantic(halves()),
    "panoptic": segments((True, 0, 0, 10)),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_every_kind_is_drawn(kind):
    picture = draw_result(canvas(), RESULTS[kind], class_names=("cat",), sem_seg_names=("a", "b", "c"))
    assert (np.asarray(picture) != GREY).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 1), (30, 40)], ids=str)
def test_odd_sizes_draw(size):
    picture = draw_semantic(canvas(*size), semantic(np.zeros(size, np.int64)), ("a rather long name", "b", "c"))
    assert (np.asarray(picture) != GREY).any()
