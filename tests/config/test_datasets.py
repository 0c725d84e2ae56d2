import json
from pathlib import Path

import pytest

from d2deploy.config.datasets import DATASETS, class_names, names_from, sem_seg_names
from d2deploy.errors import DatasetError

GOLDEN = Path(__file__).parents[1] / "golden"

# name -> number of classes, first, last
CLASSES = {
    "coco_2017_val": (80, "person", "toothbrush"),
    "coco_2014_minival": (80, "person", "toothbrush"),
    "coco_2017_val_panoptic_separated": (80, "person", "toothbrush"),
    "coco_2017_val_panoptic": (133, "person", "rug-merged"),
    "keypoints_coco_2017_val": (1, "person", "person"),
    "cityscapes_fine_instance_seg_val": (8, "person", "bicycle"),
    "cityscapes_fine_panoptic_val": (19, "road", "bicycle"),
    "voc_2007_test": (20, "aeroplane", "tvmonitor"),
    "lvis_v1_val": (1203, "aerosol_can", "zucchini"),
    "lvis_v0.5_val": (1230, "acorn", "zucchini"),
    "lvis_v0.5_val_cocofied": (80, "person", "toothbrush"),
    "densepose_coco_2014_minival": (1, "person", "person"),
    "densepose_coco_2014_minival_100_cse": (1, "person", "person"),
    "densepose_chimps_cse_val": (1, "chimpanzee", "chimpanzee"),
    "densepose_lvis_v1_ds1_val_v1": (9, "bear", "zebra"),
}
# Positions that detectron2's files show (lvis_v1_categories.py, lvis_v0_5_categories.py: id - 1, first synonym).
PLACES = [
    ("coco_2017_val", 79, "toothbrush"),
    ("coco_2017_val", 39, "bottle"),
    ("lvis_v1_val", 161, "horned_cow"),
    ("lvis_v1_val", 386, "doughnut"),
    ("lvis_v1_val", 557, "highchair"),
    ("lvis_v0.5_train", 161, "bull"),
    ("lvis_v0.5_train", 207, "bottle_cap"),
    ("voc_2012_trainval", 14, "person"),
]
SEM_SEG = {
    "coco_2017_val_panoptic_separated": (54, "things", "rug"),
    "coco_2017_val_100_panoptic_stuffonly": (54, "things", "rug"),
    "coco_2017_val_panoptic": (133, "person", "rug-merged"),
    "cityscapes_fine_sem_seg_val": (19, "road", "bicycle"),
    "cityscapes_fine_panoptic_val": (19, "road", "bicycle"),
    "ade20k_sem_seg_val": (150, "wall", "flag"),
}
# Positions that detectron2's builtin_meta.py shows.
SEM_SEG_PLACES = [
    ("coco_2017_val_panoptic_separated", 1, "banner"),
    ("coco_2017_val_panoptic_separated", 21, "road"),
    ("coco_2017_val_panoptic_separated", 40, "sky"),
    ("coco_2017_val_panoptic", 119, "sky-other-merged"),
    ("coco_2017_val_panoptic", 80, "banner"),
    ("cityscapes_fine_sem_seg_val", 10, "sky"),
    ("cityscapes_fine_sem_seg_val", 11, "person"),
    ("ade20k_sem_seg_val", 6, "road, route"),
    ("ade20k_sem_seg_val", 12, "person"),
]


def test_animals_are_lvis_classes_in_the_order_of_their_ids():
    ids = (76, 80, 225, 378, 422, 496, 569, 943, 1202)  # DATASETS.WHITELISTED_CATEGORIES of DensePose's configs
    assert class_names("densepose_lvis_v1_ds2_val_v1") == tuple(class_names("lvis_v1_val")[i - 1] for i in ids)


def test_files_of_dense_poses_data_sets():
    cse, evolution = DATASETS["densepose_coco_2014_valminusminival_cse"], DATASETS["densepose_chimps"]
    assert (cse.image_root, cse.coco_json) == ("coco/val2014", "coco_cse/densepose_valminusminival2014_cse.json")
    assert evolution.coco_json == "densepose_chimps/densepose_chimps_densepose.json"


@pytest.mark.parametrize(("name", "expected"), CLASSES.items())
def test_class_names(name, expected):
    names = class_names(name)
    assert (len(names), names[0], names[-1]) == expected
    assert len(set(names)) == len(names)
    assert all(n and n == n.strip() for n in names)


@pytest.mark.parametrize(("name", "index", "expected"), PLACES)
def test_names_stand_at_their_contiguous_ids(name, index, expected):
    assert class_names(name)[index] == expected


@pytest.mark.parametrize(("name", "expected"), SEM_SEG.items())
def test_sem_seg_names(name, expected):
    names = sem_seg_names(name)
    assert (len(names), names[0], names[-1]) == expected
    assert len(set(names)) == len(names)
    assert all(n and n == n.strip() for n in names)


@pytest.mark.parametrize(("name", "index", "expected"), SEM_SEG_PLACES)
def test_sem_seg_names_stand_at_their_channels(name, index, expected):
    assert sem_seg_names(name)[index] == expected


@pytest.mark.parametrize("name", ["", "shapes_val", "coco_2017_val", "voc_2007_test"])
def test_detectors_have_no_sem_seg_names(name):
    assert sem_seg_names(name) == ()


@pytest.mark.parametrize("name", ["", "shapes_val", "coco_2017_val_panoptic_stuffonly", "ade20k_sem_seg_val"])
def test_nobody_knows_the_others(name):
    assert class_names(name) == ()


def test_every_dataset_has_classes():
    assert len(DATASETS) > 40
    assert all(class_names(name) or sem_seg_names(name) for name in DATASETS)


def test_names_from_a_coco_json():
    file = GOLDEN / "shapes/annotations/instances_val.json"
    categories = json.loads(file.read_text())["categories"]
    assert names_from(str(file)) == tuple(c["name"] for c in sorted(categories, key=lambda c: c["id"]))
    assert len(names_from(str(file))) == 8


# file name, its content, what is given -> names
GIVEN = [
    (None, "", "cat,dog", ("cat", "dog")),
    (None, "", " cat , traffic light ", ("cat", "traffic light")),
    (None, "", "cat", ("cat",)),
    (None, "", "bread/bun,cat.txt", ("bread/bun", "cat.txt")),
    ("names.txt", "cat\n\ntraffic light \r\n dog", "names.txt", ("cat", "traffic light", "dog")),
    ("names", "\ufeffcat,big\ndog", "names", ("cat,big", "dog")),
    ("c.json", '{"categories": [{"id": 7, "name": "b"}, {"id": 2, "name": "a"}]}', "c.json", ("a", "b")),
    ("C.JSON", '{"categories": [{"id": 7, "name": "b"}]}', "./C.JSON", ("b",)),
]
BAD = [
    (None, b"", ""),
    (None, b"", " "),
    (None, b"", ","),
    (None, b"", "cat,,dog"),
    (None, b"", "cat,"),
    (None, b"", "missing.txt"),
    (None, b"", "missing.json"),
    (None, b"", "no/such/file"),
    ("e.txt", b"", "e.txt"),
    ("e.txt", b"\n \n", "e.txt"),
    ("b.txt", b"\xff\xfe\x00", "b.txt"),
    ("a.json", b"", "a.json"),
    ("a.json", b"[1]", "a.json"),
    ("a.json", b"{}", "a.json"),
    ("a.json", b'{"categories": []}', "a.json"),
    ("a.json", b'{"categories": 5}', "a.json"),
    ("a.json", b'{"categories": [{"id": 1}]}', "a.json"),
    ("a.json", b'{"categories": [{"id": 1, "name": 5}]}', "a.json"),
    ("a.json", b'{"categories": [{"id": 1, "name": " "}]}', "a.json"),
    ("a.json", b'{"categories": [{"id": [], "name": "x"}]}', "a.json"),
    ("a.json", b'{"categories": [{"id": 1, "name": "x"}, {"id": "2", "name": "y"}]}', "a.json"),
    ("a.json", b'{"categories": [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]}', "a.json"),
    ("a.json", b"[" * 100_000, "a.json"),
]


@pytest.mark.parametrize(("file", "content", "given_text", "names"), GIVEN)
def test_names_from(file, content, given_text, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if file:
        Path(file).write_text(content, encoding="utf-8", newline="")
    assert names_from(given_text) == names


@pytest.mark.parametrize(("file", "content", "given_text"), BAD)
def test_bad_names(file, content, given_text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if file:
        Path(file).write_bytes(content)
    with pytest.raises(DatasetError):
        names_from(given_text)
