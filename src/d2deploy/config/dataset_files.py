"""Where the files of detectron2's built-in datasets lie: below the folder that DETECTRON2_DATASETS names."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from d2deploy.config.datasets import DATASETS
from d2deploy.errors import DatasetError

# What an evaluation reads -> the parts that it needs of a dataset.
ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "coco_json": ("coco_json",),
    "panoptic_json": ("panoptic_json", "panoptic_root"),
    "sem_seg_root": ("sem_seg_root",),
}
_OPTIONS = "--image-root, and --coco-json, --panoptic-json with --panoptic-root, or --sem-seg-root"
# What only its owner can make: part of a path -> the script that makes it
_MADE_BY = {
    "panoptic_stuff_": "detectron2's datasets/prepare_panoptic_fpn.py",
    "annotations_detectron2": "detectron2's datasets/prepare_ade20k_sem_seg.py",
    "cityscapes_panoptic_": "cityscapesscripts' createPanopticImgs.py",
}


def dataset_files(dataset: str, root: Path, wanted: Iterable[str] = tuple(ANNOTATIONS)) -> dict[str, Path]:
    """image_root and those of the `wanted` annotations (keys of ANNOTATIONS) that the dataset has; below `root`.

    Raises DatasetError for an unknown name, with the nearest ones, and for a dataset with none of them. Whether
    the files exist is not looked at.
    """
    if dataset not in DATASETS:
        near = get_close_matches(dataset, DATASETS, n=3, cutoff=0.4)
        hint = f" The nearest: {', '.join(near)}." if near else ""
        raise DatasetError(f"detectron2 has no built-in dataset {dataset!r}.{hint} Give annotations with {_OPTIONS}.")
    row = DATASETS[dataset]._asdict()
    found = [part for name in wanted for part in ANNOTATIONS[name] if row[part]]
    if not found:
        raise DatasetError(
            f"{dataset} has no annotations of what the model finds, in a form that is read here: COCO jsons and PNGs. "
            f"Convert them, then give {_OPTIONS}."
        )
    return {part: root / row[part] for part in ("image_root", *found)}


def installed_files(dataset: str, wanted: Iterable[str] = tuple(ANNOTATIONS)) -> dict[str, Path]:
    """dataset_files below the folder that DETECTRON2_DATASETS names ("datasets" without it).

    Raises DatasetError, as dataset_files does, and when one of them is not there.
    """
    root = os.environ.get("DETECTRON2_DATASETS") or "datasets"
    files = dataset_files(dataset, Path(root).expanduser(), wanted)
    for path in files.values():
        if not path.exists():
            scripts = [script for part, script in _MADE_BY.items() if part in str(path)]
            hint = f" It is made by {scripts[0]}." if scripts else ""
            raise DatasetError(
                f"{path} does not exist.{hint} Set DETECTRON2_DATASETS, now {root}, to the folder that {dataset} lies "
                f"in, or give {_OPTIONS}."
            )
    return files
