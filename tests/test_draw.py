"""Pictures: what must be on them, and that no input breaks them. How they look was looked at."""

import numpy as np
import pytest
from PIL import Image

from d2deploy.draw import colour_of, draw_instances, side_by_side
from d2deploy.results import Instances

GREY = 128


def canvas(height=600, width=800):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def instances(boxes, *, size=(600, 800), classes=None, scores=None, with_masks=True):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    return Instances(
        image_size=size,
        pred_boxes=boxes,
        scores=np.array([0.9] * len(boxes) if scores is None else scores, np.float32),
        pred_classes=np.array([0] * len(boxes) if classes is None else classes, np.int64),
        pred_masks=masks if with_masks else None,
    )


def changed(picture):
    return (np.asarray(picture) != GREY).any(axis=2)


def test_a_mask_is_tinted_in_its_class_colour_and_the_rest_is_left():
    picture = draw_instances(canvas(), instances([[200, 200, 400, 500]], classes=[3]), list("abcd"))
    assert (picture.mode, picture.size) == ("RGB", (800, 600))
    inside = np.asarray(picture)[350, 300].astype(float)
    tint = inside - GREY
    assert np.corrcoef(tint, np.array(colour_of(3), float) - GREY)[0, 1] > 0.99
    assert 0.2 < np.abs(tint).max() / np.abs(np.array(colour_of(3)) - GREY).max() < 0.8  # translucent
    assert not changed(picture)[:150].any()
    assert not changed(picture)[520:].any()


def test_a_box_is_outlined_even_without_a_mask():
    picture = draw_instances(canvas(), instances([[200, 200, 400, 500]], with_masks=False))
    assert not changed(picture)[300:450, 220:380].any()
    pixels = np.asarray(picture)
    for y, x in ((350, 200), (350, 399), (499, 300)):
        assert tuple(pixels[y, x]) == colour_of(0)


def test_bgr_comes_out_as_rgb():
    image = canvas()
    image[:] = (255, 0, 10)
    assert draw_instances(image, instances([])).getpixel((5, 5)) == (10, 0, 255)


def test_the_image_given_is_not_drawn_on():
    image = canvas()
    draw_instances(image, instances([[200, 200, 400, 500]]))
    assert (image == GREY).all()


def test_only_scores_from_min_score_on_are_drawn():
    found = instances([[100, 100, 200, 200], [500, 300, 700, 500]], scores=[0.5, 0.4])
    picture = draw_instances(canvas(), found)
    assert changed(picture)[100:200, 100:200].any()
    assert not changed(picture)[250:, 450:].any()
    assert changed(draw_instances(canvas(), found, min_score=0.4))[300:500, 500:700].any()
    assert not changed(draw_instances(canvas(), found, min_score=0.6)).any()


@pytest.mark.parametrize(("height", "width"), [(240, 180), (600, 800), (2000, 3000)])
def test_the_label_is_there_and_grows_with_the_picture(height, width):
    box = [width // 3, height // 2, width // 2, height * 0.7]
    found = instances([box], size=(height, width), with_masks=False)
    picture = draw_instances(canvas(height, width), found, ["thing"])
    scale = picture.width / width
    above = changed(picture)[: round(box[1] * scale)]
    label_height = np.flatnonzero(above.any(axis=1)).size
    assert label_height >= 12
    assert picture.height / 60 <= label_height <= picture.height / 15
    assert len(np.unique(np.asarray(picture)[: above.shape[0]][above], axis=0)) > 2  # text on its ground


def test_labels_of_one_place_do_not_cover_each_other():
    def labelled(count):
        found = instances([[300, 300, 420, 420]] * count, with_masks=False)
        return np.asarray(draw_instances(canvas(), found, ["name"]))

    label = (labelled(1)[:300] == colour_of(0)).all(axis=2).sum()
    assert label > 100
    both = (labelled(2) == colour_of(0)).all(axis=2).sum()
    assert both > (labelled(1) == colour_of(0)).all(axis=2).sum() + label / 2


def test_a_label_stays_in_the_picture():
    found = instances([[760, 0, 800, 30], [0, 570, 30, 600]], with_masks=False)
    short, long = (draw_instances(canvas(), found, [name]) for name in ("x", "a rather long name"))
    assert changed(long).sum() > changed(short).sum() + 1000


def test_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_kept():
    sizes = {(240, 180): (540, 720), (400, 500): (500, 400), (1, 1): (400, 400), (3000, 1): (1, 3000)}
    for (height, width), size in sizes.items():
        assert draw_instances(canvas(height, width), instances([], size=(height, width))).size == size


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 1), (30, 40)], ids=str)
@pytest.mark.parametrize("with_masks", [True, False])
def test_odd_sizes_draw(size, with_masks):
    whole = [0, 0, size[1], size[0]]
    found = instances([whole, [0, 0, 0.2, 0.2]], size=size, with_masks=with_masks)
    assert changed(draw_instances(canvas(*size), found)).any()


def test_the_first_classes_have_colours_that_differ():
    colours = np.array([colour_of(i) for i in range(20)], float)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)[np.triu_indices(20, 1)]
    assert apart.min() > 25
    assert len({colour_of(i) for i in range(1203)}) > 1000


def test_side_by_side_shows_both_under_their_titles():
    left, right = Image.new("RGB", (300, 200), "red"), Image.new("RGB", (100, 250), "blue")
    sheet = np.asarray(side_by_side(left, right, ("before", "a title wider than its picture is")))
    red, blue = ((sheet == colour).all(axis=2) for colour in ((255, 0, 0), (0, 0, 255)))
    assert (red.sum(), blue.sum()) == (300 * 200, 100 * 250)
    assert np.flatnonzero(red.any(axis=0)).max() < np.flatnonzero(blue.any(axis=0)).min()
    top = np.flatnonzero(red.any(axis=1)).min()
    assert top == np.flatnonzero(blue.any(axis=1)).min()
    for picture in (red, blue):
        first = np.flatnonzero(picture.any(axis=0)).min()
        assert (sheet[:top, first:].min(axis=2) < 100).any()
