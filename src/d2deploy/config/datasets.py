"""detectron2's built-in datasets: the names of their classes and where their files lie.

Facts: detectron2 data/datasets/builtin.py, builtin_meta.py, cityscapes_panoptic.py, lvis.py and pascal_voc.py at
02b5c4e2; projects/DensePose/densepose/data/datasets/coco.py and lvis.py.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from d2deploy.errors import DatasetError


class Dataset(NamedTuple):
    """Names: keys of _CLASSES or text files beside this one (_listed), joined by "+". Paths: below DETECTRON2_DATASETS.

    "": there is no such thing, or detectron2 reads another format.
    """

    classes: str = ""  # of detections, by contiguous id
    sem_seg: str = ""  # of the channels of sem_seg
    image_root: str = ""
    coco_json: str = ""
    panoptic_json: str = ""
    panoptic_root: str = ""
    sem_seg_root: str = ""


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
    "chimpanzee": ("chimpanzee",),
    # DATASETS.WHITELISTED_CATEGORIES of DensePose's configs, in the order of LVIS's ids.
    "animals": ("bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra"),
    "things": ("things",),  # all of them as one class, where only stuff is told apart
    "cityscapes_stuff": (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky"),
    ),
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
_DENSE_POSE_COCO = {
    **{split: _COCO[split] for split in ("2014_train", "2014_minival", "2014_valminusminival")},
    "2014_minival_100": ("val2014", "minival2014_100"),
}
_CHIMPS = {
    "densepose_chimps": "densepose_chimps_densepose",
    "densepose_chimps_cse_train": "densepose_chimps_cse_train",
    "densepose_chimps_cse_val": "densepose_chimps_cse_val",
}
_VOC = ("2007_trainval", "2007_train", "2007_val", "2007_test", "2012_trainval", "2012_train", "2012_val")
_CITYSCAPES = "cityscapes/leftImg8bit", "cityscapes/gtFine"
_THINGS = ("coco", "cityscapes")


def _coco(images: str, annotations: str, classes: str = "coco") -> Dataset:
    return Dataset(classes, image_root=f"coco/{images}", coco_json=f"coco/annotations/{annotations}.json")


def _coco_panoptic(split: str) -> dict[str, Dataset]:
    """Things are evaluated on the instance annotations of the same split."""
    images, end = _COCO[split]
    things = _coco(images, f"instances_{end}")
    panoptic = things._replace(
        panoptic_json=f"coco/annotations/panoptic_{end}.json", panoptic_root=f"coco/panoptic_{end}"
    )
    stuff = {"sem_seg": "things+coco_stuff:short", "sem_seg_root": f"coco/panoptic_stuff_{end}"}
    return {
        f"coco_{split}_panoptic": panoptic._replace(classes="coco+coco_stuff", sem_seg="coco+coco_stuff"),
        f"coco_{split}_panoptic_separated": panoptic._replace(**stuff),
        f"coco_{split}_panoptic_stuffonly": Dataset(image_root=things.image_root, **stuff),
    }


def _cityscapes(split: str) -> dict[str, Dataset]:
    images, annotations = _CITYSCAPES
    every = "cityscapes_stuff+cityscapes"
    semantic = Dataset(sem_seg=every, image_root=f"{images}/{split}", sem_seg_root=f"{annotations}/{split}")
    maps = f"{annotations}/cityscapes_panoptic_{split}"
    panoptic = semantic._replace(classes=every, panoptic_json=f"{maps}.json", panoptic_root=maps)
    return {
        f"cityscapes_fine_instance_seg_{split}": Dataset("cityscapes"),
        f"cityscapes_fine_sem_seg_{split}": semantic,
        **({} if split == "test" else {f"cityscapes_fine_panoptic_{split}": panoptic}),
    }


def _lvis(name: str, annotations: str) -> Dataset:
    classes = "coco" if name.endswith("cocofied") else "lvis_v1" if name.startswith("lvis_v1") else "lvis_v0.5"
    return Dataset(classes, image_root="coco", coco_json=f"lvis/{annotations}.json")


def _dense_pose() -> dict[str, Dataset]:
    """Of LVIS's animals the names alone: which of its classes count is said by the config, not by the annotations."""
    found = {
        f"densepose_lvis_v1_{part}_v1": Dataset("animals") for part in ("ds1_train", "ds1_val", "ds2_train", "ds2_val")
    }
    for name, file in _CHIMPS.items():
        found[name] = Dataset(
            "chimpanzee", image_root="densepose_chimps/images", coco_json=f"densepose_chimps/{file}.json"
        )
    for split, (images, end) in _DENSE_POSE_COCO.items():
        name, annotations = f"densepose_coco_{split}", f"densepose_{end}"
        found[name] = _coco(images, annotations, "person")
        found[f"{name}_cse"] = found[name]._replace(coco_json=f"coco_cse/{annotations}_cse.json")
    return found


def _ade20k(folder: str) -> Dataset:
    root = "ADEChallengeData2016"
    images, annotations = f"{root}/images/{folder}", f"{root}/annotations_detectron2/{folder}"
    return Dataset(sem_seg="ade20k", image_root=images, sem_seg_root=annotations)


DATASETS: dict[str, Dataset] = {
    **{f"coco_{split}": _coco(images, f"instances_{end}") for split, (images, end) in _COCO.items()},
    **{f"coco_{split}": _coco("test2017", f"image_info_{end}") for split, end in _COCO_TEST.items()},
    **{f"keypoints_coco_{s}": _coco(images, f"person_keypoints_{end}", "person") for s, (images, end) in _COCO.items()},
    **{name: row for split in _COCO if split.startswith("2017") for name, row in _coco_panoptic(split).items()},
    **{name: _lvis(name, annotations) for name, annotations in _LVIS.items()},
    **{name: row for split in ("train", "val", "test") for name, row in _cityscapes(split).items()},
    **{f"ade20k_sem_seg_{s}": _ade20k(folder) for s, folder in (("train", "training"), ("val", "validation"))},
    **{f"voc_{split}": Dataset("voc") for split in _VOC},
    **_dense_pose(),
}


def class_names(dataset: str) -> tuple[str, ...]:
    """Names of detections, by contiguous id; () for a dataset that detectron2 does not register, or without any."""
    return _names(DATASETS.get(dataset, Dataset()).classes)


def sem_seg_names(dataset: str) -> tuple[str, ...]:
    """Names of the channels of sem_seg; () for a dataset that detectron2 does not register, or without any."""
    return _names(DATASETS.get(dataset, Dataset()).sem_seg)


def thing_ids(dataset: str) -> tuple[int, ...]:
    """Channels of sem_seg that are things, where it tells them apart; () as above."""
    found: list[int] = []
    keys = DATASETS.get(dataset, Dataset()).sem_seg.split("+")
    for i, key in enumerate(keys):
        if key in _THINGS:
            start = len(_names("+".join(keys[:i])))
            found += range(start, start + len(_names(key)))
    return tuple(found)


def names_from(text: str, *, things_first: bool = False) -> tuple[str, ...]:
    """Class names, by contiguous id, out of what a user gives.

    `text` is the path of a COCO json (its categories by id; the things before the stuff where `things_first`), the path
    of a text file with a name on each line, or the names themselves between commas.
    Raises DatasetError: no such file, unreadable, no names, an empty name.
    """
    path = Path(text).expanduser() if text.strip() and "\0" not in text and len(text) < 1000 else None
    if path is not None and _is_file(path):
        names = _from_json(path, things_first) if path.suffix.lower() == ".json" else tuple(_read(path).split("\n"))
        return _checked(tuple(name.strip() for name in names if name.strip()), where=str(path))
    if path is not None and ("/" in text or path.suffix.lower() in (".json", ".txt", ".names")) and "," not in text:
        raise DatasetError(f"{text} does not exist. Give a file of class names, or names between commas: cat,dog.")
    return _checked(tuple(name.strip() for name in text.split(",")), where="the list of class names")


def _checked(names: tuple[str, ...], *, where: str) -> tuple[str, ...]:
    if not names or not all(names):
        raise DatasetError(f"An empty name in {where}. Give a name for each class, in the order of their ids: cat,dog.")
    return names


@cache
def _names(keys: str) -> tuple[str, ...]:
    return tuple(name for key in keys.split("+") if key for name in _CLASSES.get(key) or _listed(key))


def _listed(key: str) -> list[str]:
    """The names in a text file; `short`: as detectron2 cuts them where stuff stands apart from things."""
    file, _, form = key.partition(":")
    names = Path(__file__).with_name(f"{file}.txt").read_text(encoding="utf-8").splitlines()
    return [name.replace("-other", "").replace("-merged", "") for name in names] if form == "short" else names


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


def _from_json(path: Path, things_first: bool) -> tuple[str, ...]:
    try:
        categories = json.loads(_read(path))["categories"]
        by_id: Mapping[int, Any] = {category["id"]: category["name"] for category in categories}
        stuff = {category["id"] for category in categories if things_first and category.get("isthing") == 0}
        names = tuple(by_id[key] for key in sorted(by_id, key=lambda key: (key in stuff, key)))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path} is not a COCO json with categories of id and name ({type(error).__name__}: {error})."
        ) from error
    if len(by_id) != len(categories) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DatasetError(f"The categories of {path} need an id of their own and a name each.")
    return names
