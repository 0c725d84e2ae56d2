"""Whatever a COCO json may hold in place of what it should is one clear error, before any image is run."""

import copy
import random
import time

import numpy as np
import pytest
from pycocotools import mask as rle

from d2deploy.errors import DatasetError
from d2deploy.metrics.annotations import check_dataset

HEIGHT, WIDTH = 60, 80
TRIANGLE = [10, 10, 30, 10, 10, 40.5]


def dataset(change=None, **segmentation):
    """Two images, two classes, an annotation each; `change` is let loose on it."""
    made = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 3, "bbox": [1, 2, 3.5, 4], "area": 12, "iscrowd": 0, **segmentation}
            for n in (1, 2)
        ],
    }
    if change:
        change(made)
    return made


def put(name, field, value):
    """A change: the first entry of list `name` gets `value`."""

    def change(made):
        made[name][0][field] = value

    return change


def runs(mask):
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


MASK = np.zeros((HEIGHT, WIDTH), dtype=bool)
MASK[5:20, 7:60] = MASK[40:, 70:] = True
GOOD = {
    "none": {},
    "an empty one": {"segmentation": []},
    "a polygon": {"segmentation": [TRIANGLE]},
    "polygons a little outside": {"segmentation": [TRIANGLE, [-3, -3, 90, 0, 0, 70, 5, 5]]},
    "a box, as pycocotools takes it": {"segmentation": [[1, 2, 30, 40]]},
    "run lengths": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [10, 20, HEIGHT * WIDTH - 30]}, "iscrowd": 1},
    "run lengths as text": {"segmentation": runs(MASK)},
    "of nothing": {"segmentation": runs(np.zeros_like(MASK))},
    "of everything": {"segmentation": runs(np.ones_like(MASK))},
}


@pytest.mark.parametrize("fields", GOOD.values(), ids=GOOD)
def test_good(fields):
    check_dataset(dataset(**fields), "a.json")


def test_every_text_of_run_lengths_that_pycocotools_writes_is_good():
    random_numbers = np.random.default_rng(0)
    for density in (0.01, 0.1, 0.5, 0.9):
        for _ in range(20):
            check_dataset(dataset(segmentation=runs(random_numbers.random((HEIGHT, WIDTH)) < density)), "a.json")
    wide = np.zeros((1, 3_000_000), dtype=bool)
    wide[:, 5:2_000_000] = True
    change = [{"id": 1, "file_name": "1.jpg", "height": 1, "width": 3_000_000}]
    check_dataset({**dataset(segmentation=runs(wide)), "images": [*change, {**change[0], "id": 2}]}, "a.json")


BAD = {
    "a text for an image's height": (put("images", "height", "60"), "'images': height is '60'; it must be a whole"),
    "no height at all": (put("images", "height", 0), "whole number above 0"),
    "a number for a file name": (put("images", "file_name", 3), "file_name is '3'; it must be a text"),
    "no file name": (put("images", "file_name", None), "file_name is 'None'"),
    "a list for an id": (put("images", "id", [1]), "id is '\\[1\\]'; it must be a whole number"),
    "ids of two kinds": (put("images", "id", "one"), "'images' has ids that are numbers and ids that are texts"),
    "an image twice": (put("images", "id", 2), "'images' has the id 2 twice"),
    "a class twice": (put("categories", "id", 5), "'categories' has the id 5 twice"),
    "a class without name": (put("categories", "name", None), "name is 'None'; it must be a text"),
    "an annotation twice": (put("annotations", "id", 2), "'annotations' has the id 2 twice"),
    "a list for a category": (put("annotations", "category_id", [3]), "category_id is '\\[3\\]'"),
    "half a box": (put("annotations", "bbox", [1, 2]), "bbox is '\\[1, 2\\]'; it must be four numbers"),
    "no box": (put("annotations", "bbox", None), "bbox is 'None'"),
    "texts for a box": (put("annotations", "bbox", list("abcd")), "it must be four numbers"),
    "a box without end": (put("annotations", "bbox", [0, 0, float("inf"), 1]), "it must be four numbers"),
    "no area": (put("annotations", "area", None), "area is 'None'; it must be a number"),
    "a crowd of another kind": (put("annotations", "iscrowd", "no"), "iscrowd is 'no'; it must be 0 or 1"),
    "an unlisted image": (put("annotations", "image_id", 9), "annotation 1 is of image 9 and category 3"),
}
MASKS = {
    "a text": ("abc", "is neither polygons nor run lengths"),
    "a number": (3, "is neither polygons nor run lengths"),
    "no counts": ({"size": [HEIGHT, WIDTH]}, "is neither polygons nor run lengths"),
    "a line": ([[1, 2, 3, 4, 5]], "less than three points"),
    "numbers that are no polygon": ([1, 2, 3, 4, 5, 6], "less than three points"),
    "a box and a polygon": ([[1, 2, 3, 4], TRIANGLE], "less than three points"),
    "texts": ([list("abcdef")], "not a flat list of numbers"),
    "points that are lists": ([[[1, 2]] * 6], "not a flat list of numbers"),
    "a point that is none": ([[*TRIANGLE[:5], float("nan")]], "far outside"),
    "a point at the end of the world": ([TRIANGLE, [*TRIANGLE[:5], 1e300]], "far outside"),
    "another size": ({"size": [5, 5], "counts": [0, 25]}, r"is of size \[5, 5\], and its image of \[60, 80\]"),
    "too few pixels": ({"size": [HEIGHT, WIDTH], "counts": [0, 25]}, "do not add up"),
    "a negative run": ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, "do not add up"),
    "a run that is a text": ({"size": [HEIGHT, WIDTH], "counts": ["x"]}, "do not add up"),
    "text that is none": ({"size": [HEIGHT, WIDTH], "counts": "garbage!"}, "do not add up"),
    "other letters": ({"size": [HEIGHT, WIDTH], "counts": "☃~}"}, "do not add up"),
    "text without end": ({"size": [HEIGHT, WIDTH], "counts": "oooooooooo"}, "do not add up"),
    "another mask's text": ({"size": [HEIGHT, WIDTH], "counts": runs(MASK[:50])["counts"]}, "do not add up"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_fields(change, message):
    with pytest.raises(DatasetError, match=rf"^a\.json: .*{message}"):
        check_dataset(dataset(change), "a.json")


@pytest.mark.parametrize(("mask", "message"), MASKS.values(), ids=MASKS)
def test_bad_masks(mask, message):
    with pytest.raises(DatasetError, match=rf"^a\.json: the segmentation of annotation 1 .*{message}"):
        check_dataset(dataset(segmentation=mask), "a.json")


def test_any_damage_is_an_error_or_none_at_all():
    values: list[object] = [None, True, -1, 0, 1.5, float("nan"), 10**30, "", "x", [], [[]], {}, {"counts": "0"}]
    numbers = random.Random(0)
    refused = 0
    for _ in range(500):
        made = dataset(segmentation=[TRIANGLE])
        rows = numbers.choice(list(made.values()))
        row = numbers.choice(rows)
        row[numbers.choice(list(row))] = copy.deepcopy(numbers.choice(values))
        try:
            check_dataset(made, "a.json")
        except DatasetError:
            refused += 1
    assert 300 < refused < 500


def test_a_large_file_is_checked_quickly():
    made = dataset(segmentation=[[float(n) for n in range(60)]])
    made["annotations"] = [{**made["annotations"][0], "id": n} for n in range(5000)]
    start = time.perf_counter()
    check_dataset(made, "a.json")
    assert time.perf_counter() - start < 2, "seen: 0.1 s"
