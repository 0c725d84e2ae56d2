"""Panoptic annotations: what is read, and what is refused."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from d2deploy.errors import DatasetError, ImageError
from d2deploy.metrics.panoptic import Category, TrueSegment
from d2deploy.metrics.panoptic_annotations import read_panoptic

PIXELS = np.zeros((3, 4, 3), np.uint8)
PIXELS[:2] = (1, 2, 3)  # red, green, blue
ID = 1 + 2 * 256 + 3 * 65536
CONTENT = {
    "images": [
        {"id": 9, "file_name": "b.jpg", "height": 3, "width": 4},
        {"id": 2, "file_name": "a.jpg", "height": 3, "width": 4},
    ],
    "categories": [{"id": 7, "name": "sky", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}],
    "annotations": [
        {"image_id": 2, "file_name": "a.png", "segments_info": [{"id": ID, "category_id": 3, "iscrowd": 1}]},
        {"image_id": 9, "file_name": "b.png", "segments_info": []},
    ],
}


@pytest.fixture
def read(tmp_path):
    """Writes CONTENT, after `change` has had it, and reads it."""
    for name in ("a", "b"):
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")

    def written(change=lambda content: None):
        content = copy.deepcopy(CONTENT)
        change(content)
        (tmp_path / "panoptic.json").write_text(json.dumps(content))
        return read_panoptic(tmp_path / "panoptic.json", tmp_path)

    return written


def test_what_is_read(read):
    annotations = read()
    assert [image["id"] for image in annotations.images] == [2, 9]
    assert annotations.categories == (Category(3, "cat", True), Category(7, "sky", False))
    annotations.check_present([2, 9])
    truth = annotations.truth(2)
    assert truth.segments == (TrueSegment(ID, 3, True),)
    np.testing.assert_array_equal(truth.segment_ids, [[ID] * 4, [ID] * 4, [0] * 4])
    assert annotations.truth(9).segments == ()


def test_without_iscrowd_a_segment_is_none(read):
    annotations = read(lambda content: segment(content).pop("iscrowd"))
    assert annotations.truth(2).segments == (TrueSegment(ID, 3, False),)


def segment(content):
    return content["annotations"][0]["segments_info"][0]


def setting(key, value, of=lambda content: content):
    return lambda content: of(content).__setitem__(key, value)


def first(name):
    return lambda content: content[name][0]


BAD = {
    "an instances json": (
        lambda c: first("annotations")(c).pop("segments_info"),
        "entry 0 of 'annotations' has no seg",
    ),
    "no annotations": (setting("annotations", None), r"is no panoptic json: it has no list 'annotations'\. Give a pan"),
    "categories without isthing": (lambda c: first("categories")(c).pop("isthing"), "'categories' has no isthing"),
    "isthing of another kind": (setting("isthing", "yes", first("categories")), "isthing is 'yes'; it must be 0 or 1"),
    "a category twice": (setting("id", 3, first("categories")), "'categories' has the id 3 twice"),
    "an image annotated twice": (setting("image_id", 9, first("annotations")), "'annotations' has the id 9 twice"),
    "no size": (lambda c: first("images")(c).pop("height"), "entry 0 of 'images' has no height"),
    "segments of another kind": (setting("segments_info", {}, first("annotations")), "it must be a list"),
    "a segment of another kind": (setting("segments_info", [3], first("annotations")), "image 2: entry 0 of 'segments"),
    "a segment without category": (lambda c: segment(c).pop("category_id"), "of 'segments_info' has no category_id"),
    "an unknown category": (setting("category_id", 4, segment), f"image 2: segment {ID} is of category 4, which the"),
    "a crowd of another kind": (setting("iscrowd", 2, segment), "iscrowd is '2'; it must be 0 or 1"),
    "void as a segment": (setting("id", 0, segment), "a segment has the id 0; a PNG can hold 1 to 16777215"),
    "an id beyond colours": (setting("id", 256**3, segment), "a segment has the id 16777216"),
    "a segment twice": (lambda c: first("annotations")(c)["segments_info"].append(segment(c)), f"the id {ID} twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_annotations_are_one_clear_error(case, read):
    change, message = BAD[case]
    with pytest.raises(DatasetError, match=message) as caught:
        read(change)
    assert "panoptic.json" in str(caught.value)


def test_a_file_that_is_no_json_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.json cannot be read as panoptic annotations: No such file"):
        read_panoptic(tmp_path / "nowhere.json", tmp_path)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"list\.json is no panoptic json"):
        read_panoptic(tmp_path / "list.json", tmp_path)


def test_missing_annotations_are_named_before_anything_runs(read, tmp_path):
    annotations = read()
    with pytest.raises(DatasetError, match=r"has no annotation of image 3\. Give"):
        annotations.check_present([2, 3])
    (tmp_path / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"lacks b\.png, which .*panoptic\.json names for image 9"):
        annotations.check_present([2, 9])


def test_pngs_of_something_else_are_refused(read, tmp_path):
    annotations = read()
    Image.fromarray(np.full((3, 4), 4, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png shows none of the 1 segments that .* lists for image 2"):
        annotations.truth(2)


def test_a_damaged_png_is_named(read, tmp_path):
    annotations = read()
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\.png is not an image"):
        annotations.truth(2)
