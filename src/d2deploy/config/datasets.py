"""detectron2's built-in datasets: their thing classes and where their files lie.

Facts: detectron2 data/datasets/builtin.py, builtin_meta.py, lvis.py and pascal_voc.py at 02b5c4e2. Stuff classes are
not here: names are those of a detector's contiguous ids.
"""

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from d2deploy.errors import DatasetError


class Dataset(NamedTuple):
    """`classes` is a key of _CLASSES or a text file beside this one; paths are relative to DETECTRON2_DATASETS."""

    classes: str
    annotations: str = ""  # a COCO json; "": detectron2 reads another format
    images: str = ""


_CLASSES: dict[str, tuple[str, ...]] = {
    "coco": (
        *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
        *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
        *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
        *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
        *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
        *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
        *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
        *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors"),
        *("teddy bear", "hair drier", "toothbrush"),
    ),
    "person": ("person",),
    "cityscapes": ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    "voc": (
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
        *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    ),
}
# split -> (image folder, end of the annotation file's name)
_COCO = {
    "2014_train": ("train2014", "train2014"),
    "2014_val": ("val2014", "val2014"),
    "2014_minival": ("val2014", "minival2014"),
    "2014_valminusminival": ("val2014", "valminusminival2014"),
    "2017_train": ("train2017", "train2017"),
    "2017_val": ("val2017", "val2017"),
    "2017_val_100": ("val2017", "val2017_100"),
}
_COCO_TEST = {"2017_test": "test2017", "2017_test-dev": "test-dev2017"}  # without annotations: image_info_*.json
_LVIS = {
    "lvis_v1_train": "lvis_v1_train",
    "lvis_v1_val": "lvis_v1_val",
    "lvis_v1_test_dev": "lvis_v1_image_info_test_dev",
    "lvis_v1_test_challenge": "lvis_v1_image_info_test_challenge",
    "lvis_v0.5_train": "lvis_v0.5_train",
    "lvis_v0.5_val": "lvis_v0.5_val",
    "lvis_v0.5_val_rand_100": "lvis_v0.5_val_rand_100",
    "lvis_v0.5_test": "lvis_v0.5_image_info_test",
    "lvis_v0.5_train_cocofied": "lvis_v0.5_train_cocofied",
    "lvis_v0.5_val_cocofied": "lvis_v0.5_val_cocofied",
}
_VOC = ("2007_trainval", "2007_train", "2007_val", "2007_test", "2012_trainval", "2012_train", "2012_val")
_CITYSCAPES = ("instance_seg_train", "instance_seg_val", "instance_seg_test", "panoptic_train", "panoptic_val")


def _coco(images: str, annotations: str, classes: str = "coco") -> Dataset:
    return Dataset(classes, f"coco/annotations/{annotations}.json", f"coco/{images}")


def _lvis(name: str, annotations: str) -> Dataset:
    classes = "coco" if name.endswith("cocofied") else "lvis_v1" if name.startswith("lvis_v1") else "lvis_v0.5"
    return Dataset(classes, f"lvis/{annotations}.json", "coco")


DATASETS: dict[str, Dataset] = {
    **{f"coco_{split}": _coco(images, f"instances_{end}") for split, (images, end) in _COCO.items()},
    **{f"coco_{split}": _coco("test2017", f"image_info_{end}") for split, end in _COCO_TEST.items()},
    **{f"keypoints_coco_{s}": _coco(images, f"person_keypoints_{end}", "person") for s, (images, end) in _COCO.items()},
    # Panoptic datasets evaluate their things on the instance annotations of the same split.
    **{
        f"coco_{split}_panoptic{form}": _coco(images, f"instances_{end}")
        for split, (images, end) in _COCO.items()
        if split.startswith("2017")
        for form in ("", "_separated")
    },
    **{name: _lvis(name, annotations) for name, annotations in _LVIS.items()},
    **{f"cityscapes_fine_{split}": Dataset("cityscapes") for split in _CITYSCAPES},
    **{f"voc_{split}": Dataset("voc") for split in _VOC},
}


def class_names(dataset: str) -> tuple[str, ...]:
    """Thing classes of a built-in dataset, by contiguous id; () for one that detectron2 does not register."""
    known = DATASETS.get(dataset)
    return () if known is None else _classes(known.classes)


def coco_files(dataset: str, root: Path) -> tuple[Path, Path]:
    """(annotations json, image folder) of a built-in dataset; `root` is what DETECTRON2_DATASETS points to.

    Raises DatasetError for an unknown name, with the nearest ones, and for a dataset without COCO annotations. Whether
    the files exist is not looked at.
    """
    if dataset not in DATASETS:
        near = get_close_matches(dataset, DATASETS, n=3, cutoff=0.4)
        hint = f" The nearest: {', '.join(near)}." if near else ""
        raise DatasetError(
            f"detectron2 has no built-in dataset {dataset!r}.{hint} Give annotations with --coco-json and --image-root."
        )
    known = DATASETS[dataset]
    if not known.annotations:
        raise DatasetError(
            f"{dataset} has no COCO annotations. Convert it to a COCO json, then give --coco-json and --image-root."
        )
    return root / known.annotations, root / known.images


def installed_files(dataset: str) -> tuple[Path, Path]:
    """coco_files below the folder that DETECTRON2_DATASETS names ("datasets" without it).

    Raises DatasetError, as coco_files does, and when the annotations are not there.
    """
    root = os.environ.get("DETECTRON2_DATASETS") or "datasets"
    annotations, images = coco_files(dataset, Path(root).expanduser())
    if not annotations.is_file():
        raise DatasetError(
            f"{annotations} does not exist. Set DETECTRON2_DATASETS, now {root}, to the folder that {dataset} lies in, "
            f"or give --coco-json and --image-root."
        )
    return annotations, images


def names_from(text: str) -> tuple[str, ...]:
    """Class names, by contiguous id, out of what a user gives.

    `text` is the path of a COCO json (its categories by id), the path of a text file with a name on each line, or the
    names themselves between commas. Raises DatasetError: no such file, unreadable, no names, an empty name.
    """
    path = Path(text).expanduser() if text.strip() and "\0" not in text and len(text) < 1000 else None
    if path is not None and _is_file(path):
        names = _from_json(path) if path.suffix.lower() == ".json" else tuple(_read(path).split("\n"))
        return _checked(tuple(name.strip() for name in names if name.strip()), where=str(path))
    if path is not None and ("/" in text or path.suffix.lower() in (".json", ".txt", ".names")) and "," not in text:
        raise DatasetError(f"{text} does not exist. Give a file of class names, or names between commas: cat,dog.")
    return _checked(tuple(name.strip() for name in text.split(",")), where="the list of class names")


def _checked(names: tuple[str, ...], *, where: str) -> tuple[str, ...]:
    if not names or not all(names):
        raise DatasetError(f"An empty name in {where}. Give a name for each class, in the order of their ids: cat,dog.")
    return names


@cache
def _classes(key: str) -> tuple[str, ...]:
    if key in _CLASSES:
        return _CLASSES[key]
    return tuple(Path(__file__).with_name(f"{key}.txt").read_text(encoding="utf-8").splitlines())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as text ({error}). Give a text file, a name a line.") from error


def _from_json(path: Path) -> tuple[str, ...]:
    try:
        categories = json.loads(_read(path))["categories"]
        by_id: Mapping[int, Any] = {category["id"]: category["name"] for category in categories}
        names = tuple(by_id[key] for key in sorted(by_id))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{path} is not a COCO json with categories of id and name ({type(error).__name__}: {error})."
        ) from error
    if len(by_id) != len(categories) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DatasetError(f"The categories of {path} need an id of their own and a name each.")
    return names
