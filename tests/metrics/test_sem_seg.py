"""mIoU and its kin: counted by hand, perfect predictions, and what an annotation must be."""

import math

import numpy as np
import pytest
from PIL import Image

from d2deploy.errors import DatasetError
from d2deploy.metrics.label_map import read_labels
from d2deploy.metrics.sem_seg import SemanticIoU

NAMES = ("things", "sky", "grass")
KEYS = [
    *("mIoU", "fwIoU", "IoU-things", "IoU-sky", "IoU-grass"),
    *("mACC", "pACC", "ACC-things", "ACC-sky", "ACC-grass"),
]


def scores(labels, truth, **options):
    counter = SemanticIoU(NAMES, **options)
    counter.add(np.array([labels]), np.array([truth]))
    return counter.result()


def test_counted_by_hand():
    # things: 2 right, 1 called sky, 0 invented. sky: 3 right, 1 of 4 lost to grass, 1 too many. grass: 1 right, 1 more.
    found = scores([0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 1, 2])
    assert list(found) == KEYS
    assert found == pytest.approx(
        {
            "mIoU": 100 * (2 / 3 + 3 / 5 + 1 / 2) / 3,
            "fwIoU": 100 * (2 / 3 * 3 + 3 / 5 * 4 + 1 / 2 * 1) / 8,
            "IoU-things": 100 * 2 / 3,
            "IoU-sky": 100 * 3 / 5,
            "IoU-grass": 100 * 1 / 2,
            "mACC": 100 * (2 / 3 + 3 / 4 + 1 / 1) / 3,
            "pACC": 100 * 6 / 8,
            "ACC-things": 100 * 2 / 3,
            "ACC-sky": 100 * 3 / 4,
            "ACC-grass": 100.0,
        }
    )


def test_ignored_pixels_do_not_count():
    # Called grass on an ignored pixel: no false grass.
    found = scores([0, 1, 2, 2], [0, 1, 255, 2])
    assert set(found.values()) == {100.0}
    assert scores([0, 1, 2, 2], [0, 1, 9, 2], ignore_label=9) == found


def test_a_class_that_is_not_annotated_is_in_no_mean():
    # Half of the sky is called grass, which is nowhere: sky 1/2; grass has no number, though it was invented.
    found = scores([0, 0, 1, 2], [0, 0, 1, 1])
    assert math.isnan(found["IoU-grass"]) and math.isnan(found["ACC-grass"])
    assert found["mIoU"] == pytest.approx((100 + 50) / 2)
    assert found["mACC"] == pytest.approx((100 + 50) / 2)
    assert found["fwIoU"] == pytest.approx((100 * 2 + 50 * 2) / 4)


def test_a_class_that_is_not_found_has_0():
    found = scores([0, 0, 0, 0], [0, 0, 1, 1])
    assert (found["IoU-things"], found["IoU-sky"], found["ACC-sky"]) == (50.0, 0.0, 0.0)


@pytest.mark.parametrize("truth", [[255, 255], []])
def test_nothing_annotated_is_nan_in_every_number(truth):
    found = scores([0] * len(truth), truth)
    assert list(found) == KEYS
    assert all(map(math.isnan, found.values()))


def test_no_image_at_all_is_nan():
    assert all(map(math.isnan, SemanticIoU(NAMES).result().values()))


def test_images_add_up_pixel_by_pixel():
    one = SemanticIoU(NAMES)
    one.add(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]))
    one.add(np.array([[2], [2]]), np.array([[2], [255]]))
    assert one.result() == pytest.approx(scores([0, 1, 1, 2, 2], [0, 0, 1, 2, 255]))


def test_annotations_as_predictions_are_perfect(golden):
    counter = SemanticIoU(("things", "sky", "grass", "brick", "water"))
    files = sorted((golden / "shapes/sem_seg_val").iterdir())
    for file in files:
        truth = read_labels(file)
        counter.add(np.where(truth == 255, 0, truth), truth)
    assert len(files) == 100
    assert set(counter.result().values()) == {100.0}


BAD = {
    "another size": ([0, 0], [0], "The annotation has 1 x 1 pixels, the image 2 x 1"),
    "an unknown label": ([0, 0], [0, 3], "The annotation has the label 3; the model has 3 classes, 0 to 2, and 255 is"),
    "a negative label": ([0, 0], [0, -1], "The annotation has the label -1"),
    "a result of more classes": ([0, 3], [0, 0], "The result has the label 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case):
    labels, truth, message = BAD[case]
    with pytest.raises(DatasetError, match=message):
        scores(labels, truth)


MODES = {"L": np.uint8, "I;16": np.uint16}


@pytest.mark.parametrize("mode", MODES)
def test_labels_are_read_as_they_stand(mode, tmp_path):
    labels = np.array([[0, 1], [255, 200 if mode == "L" else 300]])
    Image.fromarray(labels.astype(MODES[mode])).save(tmp_path / "a.png")
    found = read_labels(tmp_path / "a.png")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, labels)


def test_of_a_palette_the_indices_count(tmp_path):
    image = Image.fromarray(np.array([[0, 2]], np.uint8))
    image.putpalette([9, 9, 9] * 3)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), [[0, 2]])


def test_what_is_no_annotation_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"a\.png cannot be read as an annotation: No such file"):
        read_labels(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"a\.png cannot be read as an annotation: cannot identify"):
        read_labels(tmp_path / "a.png")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png is a picture in colours \(mode RGB\)"):
        read_labels(tmp_path / "a.png")
