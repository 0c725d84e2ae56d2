"""Which images an evaluation runs on, and which annotation belongs to each."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from d2deploy.errors import DatasetError
from d2deploy.workflows.ground_truth import read_ground_truth


@pytest.fixture
def files(tmp_path):
    """Makes small pictures below tmp_path, by their names."""

    def made(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / name)
        return tmp_path

    return made


def coco(path, *images):
    rows = [{"id": i, "file_name": name, "height": 4, "width": 6} for i, name in images]
    path.write_text(json.dumps({"images": rows, "categories": [{"id": 1, "name": "a"}], "annotations": []}))
    return path


def panoptic(path, *images):
    """(image id, image name, PNG) each."""
    content = {
        "images": [{"id": i, "file_name": name, "height": 4, "width": 6} for i, name, _ in images],
        "categories": [{"id": 1, "name": "a", "isthing": 1}],
        "annotations": [{"image_id": i, "file_name": png, "segments_info": []} for i, _, png in images],
    }
    path.write_text(json.dumps(content))
    return path


def test_images_of_a_coco_json_come_by_id(files):
    root = files("val/b.jpg", "val/sub/a.jpg")
    rows = coco(root / "c.json", (9, "b.jpg"), (2, "sub/a.jpg"))
    truth = read_ground_truth(image_root=root / "val", coco_json=rows)
    assert [tuple(image) for image in truth.images] == [
        (2, root / "val/sub/a.jpg", (4, 6), None),
        (9, root / "val/b.jpg", (4, 6), None),
    ]
    assert truth.coco is not None and truth.panoptic is None


def test_each_image_has_the_png_of_its_name(files):
    root = files("val/b.jpg", "val/sub/a.jpg", "stuff/b.png", "stuff/sub/a.png", "stuff/more.png")
    rows = coco(root / "c.json", (9, "b.jpg"), (2, "sub/a.jpg"))
    truth = read_ground_truth(image_root=root / "val", coco_json=rows, sem_seg_root=root / "stuff")
    assert [image.sem_seg for image in truth.images] == [root / "stuff/sub/a.png", root / "stuff/b.png"]


def test_with_pngs_alone_they_say_which_images(files):
    root = files("val/a.jpg", "val/b.PNG", "val/sub/c.jpeg", "stuff/b.png", "stuff/sub/c.png")
    truth = read_ground_truth(image_root=root / "val", sem_seg_root=root / "stuff")
    assert [tuple(image) for image in truth.images] == [
        ("b", root / "val/b.PNG", None, root / "stuff/b.png"),
        ("sub/c", root / "val/sub/c.jpeg", None, root / "stuff/sub/c.png"),
    ]


CITY = "bonn/bonn_000000_000001"
CITYSCAPES = (
    f"left/{CITY}_leftImg8bit.png",
    *(f"gt/{CITY}_gtFine_{kind}.png" for kind in ("color", "labelIds", "labelTrainIds", "instanceIds")),
)


def test_cityscapes_names_are_known(files):
    root = files(*CITYSCAPES)
    truth = read_ground_truth(image_root=root / "left", sem_seg_root=root / "gt")
    (image,) = truth.images
    assert (image.file, image.sem_seg) == (root / CITYSCAPES[0], root / f"gt/{CITY}_gtFine_labelTrainIds.png")


def test_a_panoptic_json_of_cityscapes_names_images_by_id(files):
    root = files(*CITYSCAPES, "pan/bonn_000000_000001_gtFine_panoptic.png")
    name = CITY.rpartition("/")[2]
    rows = panoptic(root / "p.json", (name, f"{name}_gtFine_leftImg8bit.png", f"{name}_gtFine_panoptic.png"))
    maps = {"panoptic_json": rows, "panoptic_root": root / "pan"}
    truth = read_ground_truth(image_root=root / "left", sem_seg_root=root / "gt", **maps)
    (image,) = truth.images
    assert (image.id, image.file) == (name, root / CITYSCAPES[0])
    assert image.sem_seg == root / f"gt/{CITY}_gtFine_labelTrainIds.png"
    assert truth.panoptic is not None


def test_a_limit_takes_the_first_by_id(files):
    root = files("val/b.jpg", "pan/b.png")
    rows = panoptic(root / "p.json", (9, "missing.jpg", "missing.png"), (2, "b.jpg", "b.png"))
    truth = read_ground_truth(image_root=root / "val", panoptic_json=rows, panoptic_root=root / "pan", limit=1)
    assert [image.id for image in truth.images] == [2]


INCOMPLETE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "images alone": {"image_root": "a"},
    "no images": {"coco_json": "a"},
    "panoptic without PNGs": {"image_root": "a", "panoptic_json": "b"},
    "PNGs without panoptic": {"image_root": "a", "coco_json": "a", "panoptic_root": "b"},
    "all of it None": dict.fromkeys(("image_root", "coco_json", "panoptic_json", "panoptic_root", "sem_seg_root")),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_what_is_incomplete_is_refused(case):
    with pytest.raises(DatasetError, match="Give --image-root, the folder of the images, and one or more of"):
        read_ground_truth(**INCOMPLETE[case])


LACKING = {
    "an image": ("val/b.jpg", r"val lacks 1 of 2 images, b\.jpg among them"),
    "class numbers": ("stuff/b.png", r"stuff lacks 1 of 2 annotations, b\.png among them"),
    "segments": ("pan/b.png", r"pan lacks b\.png, which .*p\.json names for image 2"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_is_not_there_is_named(case, files):
    gone, message = LACKING[case]
    root = files(*(f"{folder}/{name}" for folder in ("val", "stuff", "pan") for name in ("a.png", "b.png", "b.jpg")))
    (root / gone).unlink()
    data: dict[str, Any] = {
        "image_root": root / "val",
        "coco_json": coco(root / "c.json", (1, "a.png"), (2, "b.jpg")),
        "sem_seg_root": root / "stuff",
        "panoptic_json": panoptic(root / "p.json", (1, "a.png", "a.png"), (2, "b.jpg", "b.png")),
        "panoptic_root": root / "pan",
    }
    with pytest.raises(DatasetError, match=message):
        read_ground_truth(**data)


def test_png_without_its_image_is_named(files):
    root = files("val/a.jpg", "stuff/a.png", "stuff/b.png")
    with pytest.raises(DatasetError, match=r"val lacks 1 of 2 images, b\.png among them"):
        read_ground_truth(image_root=root / "val", sem_seg_root=root / "stuff")


def test_no_annotation_at_all_is_no_image(files):
    root = files("val/a.jpg")
    with pytest.raises(DatasetError, match="There is no image to evaluate"):
        read_ground_truth(image_root=root / "val", sem_seg_root=root / "nowhere")
