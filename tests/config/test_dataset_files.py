"""Where the files of built-in datasets lie."""

from pathlib import Path

import pytest

from d2deploy.config.dataset_files import ANNOTATIONS, dataset_files, installed_files
from d2deploy.config.datasets import DATASETS
from d2deploy.errors import DatasetError

ROOT = Path("/data")
COCO = "coco/annotations"
FILES = {
    "coco_2017_val": {"image_root": "coco/val2017", "coco_json": f"{COCO}/instances_val2017.json"},
    "coco_2017_val_100": {"image_root": "coco/val2017", "coco_json": f"{COCO}/instances_val2017_100.json"},
    "coco_2017_test-dev": {"image_root": "coco/test2017", "coco_json": f"{COCO}/image_info_test-dev2017.json"},
    "coco_2014_valminusminival": {
        "image_root": "coco/val2014",
        "coco_json": f"{COCO}/instances_valminusminival2014.json",
    },
    "keypoints_coco_2017_train": {
        "image_root": "coco/train2017",
        "coco_json": f"{COCO}/person_keypoints_train2017.json",
    },
    "coco_2017_val_100_panoptic_separated": {
        "image_root": "coco/val2017",
        "coco_json": f"{COCO}/instances_val2017_100.json",
        "panoptic_json": f"{COCO}/panoptic_val2017_100.json",
        "panoptic_root": "coco/panoptic_val2017_100",
        "sem_seg_root": "coco/panoptic_stuff_val2017_100",
    },
    "coco_2017_val_panoptic": {
        "image_root": "coco/val2017",
        "coco_json": f"{COCO}/instances_val2017.json",
        "panoptic_json": f"{COCO}/panoptic_val2017.json",
        "panoptic_root": "coco/panoptic_val2017",
    },
    "coco_2017_val_panoptic_stuffonly": {
        "image_root": "coco/val2017",
        "sem_seg_root": "coco/panoptic_stuff_val2017",
    },
    "cityscapes_fine_sem_seg_val": {
        "image_root": "cityscapes/leftImg8bit/val",
        "sem_seg_root": "cityscapes/gtFine/val",
    },
    "cityscapes_fine_panoptic_train": {
        "image_root": "cityscapes/leftImg8bit/train",
        "panoptic_json": "cityscapes/gtFine/cityscapes_panoptic_train.json",
        "panoptic_root": "cityscapes/gtFine/cityscapes_panoptic_train",
        "sem_seg_root": "cityscapes/gtFine/train",
    },
    "ade20k_sem_seg_val": {
        "image_root": "ADEChallengeData2016/images/validation",
        "sem_seg_root": "ADEChallengeData2016/annotations_detectron2/validation",
    },
    "lvis_v1_val": {"image_root": "coco", "coco_json": "lvis/lvis_v1_val.json"},
    "lvis_v0.5_test": {"image_root": "coco", "coco_json": "lvis/lvis_v0.5_image_info_test.json"},
}


@pytest.mark.parametrize(("name", "expected"), FILES.items())
def test_dataset_files(name, expected):
    assert dataset_files(name, ROOT) == {part: ROOT / path for part, path in expected.items()}


def test_only_what_is_wanted():
    assert dataset_files("coco_2017_val_panoptic_separated", ROOT, ["panoptic_json"]).keys() == {
        "image_root",
        "panoptic_json",
        "panoptic_root",
    }


def test_whoever_has_annotations_has_images():
    parts = {part for parts in ANNOTATIONS.values() for part in parts}
    for name, row in DATASETS.items():
        assert bool(row.image_root) == any(getattr(row, part) for part in parts), name
        assert bool(row.panoptic_json) == bool(row.panoptic_root), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coco_2017_vall", "The nearest: coco_2017_val"),
        ("zzz", r"no built-in dataset 'zzz'\. Give annotations with --image-root"),
        ("", "no built-in dataset ''"),
        ("cityscapes_fine_panoptic_test", "no built-in dataset"),
        ("voc_2007_test", "voc_2007_test has no annotations of what the model finds"),
        ("cityscapes_fine_instance_seg_val", "has no annotations of what the model finds"),
    ],
)
def test_datasets_without_files(name, message):
    with pytest.raises(DatasetError, match=message):
        dataset_files(name, ROOT)


def test_a_dataset_without_what_is_wanted():
    with pytest.raises(DatasetError, match="has no annotations of what the model finds"):
        dataset_files("coco_2017_val_panoptic_stuffonly", ROOT, ["coco_json"])


def test_installed_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "mine"))
    with pytest.raises(DatasetError, match=r"val2017 does not exist\. Set DETECTRON2_DATASETS, now .*mine"):
        installed_files("coco_2017_val_100")
    (tmp_path / "mine/coco/val2017").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"val2017_100\.json does not exist\. Set"):
        installed_files("coco_2017_val_100")
    (tmp_path / "mine/coco/annotations").mkdir(parents=True)
    (tmp_path / "mine/coco/annotations/instances_val2017_100.json").touch()
    assert installed_files("coco_2017_val_100") == dataset_files("coco_2017_val_100", tmp_path / "mine")
    with pytest.raises(DatasetError, match=r"panoptic_stuff_val2017 does not exist\. It is made by detectron2's"):
        installed_files("coco_2017_val_panoptic_stuffonly")
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    with pytest.raises(DatasetError, match="now datasets"):
        installed_files("coco_2017_val_100")
