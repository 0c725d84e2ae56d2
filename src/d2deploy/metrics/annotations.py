"""Is it a COCO annotation file, in every field that an evaluation reads?

pycocotools does not ask: it breaks in the middle, counts wrongly, or takes all memory for a few damaged run lengths.
"""

from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import DatasetError
from d2deploy.metrics.fields import (
    ID,
    IMAGE,
    IS_CROWD,
    NUMBER,
    TEXT,
    WHOLE,
    Field,
    Fields,
    check_ids,
    check_rows,
    is_number,
)

FAR = 1_000_000  # pixels; pycocotools walks along every edge of a polygon


_BOX = Field(
    lambda value: isinstance(value, list) and len(value) == 4 and all(map(is_number, value)),
    "four numbers: x, y, width, height",
)
_FIELDS: dict[str, Fields] = {
    "images": IMAGE,
    "categories": {"id": ID, "name": TEXT},
    "annotations": {
        "id": WHOLE,
        "image_id": ID,
        "category_id": ID,
        "bbox": _BOX,
        "area": NUMBER,
        "iscrowd": IS_CROWD,
    },
}


def check_dataset(dataset: Any, path: str | Path) -> None:
    """Raises DatasetError, which names the entry of file `path`, for content that cannot be evaluated."""
    for name, fields in _FIELDS.items():
        rows = dataset.get(name) if isinstance(dataset, dict) else None
        if not isinstance(rows, list):
            raise DatasetError(f"{path} is no COCO annotation file: it has no list {name!r}. Give an instances_*.json.")
        check_rows(rows, fields, where=str(path), name=name)
        check_ids([row["id"] for row in rows], f"{path}: {name!r}")
    images = {row["id"]: (row["height"], row["width"]) for row in dataset["images"]}
    categories = {row["id"] for row in dataset["categories"]}
    for row in dataset["annotations"]:
        if row["image_id"] not in images or row["category_id"] not in categories:
            raise DatasetError(
                f"{path}: annotation {row['id']} is of image {row['image_id']} and category {row['category_id']}, "
                f"not both of which the file lists. Remove the annotation, or list them."
            )
        if fault := _mask_fault(row.get("segmentation"), images[row["image_id"]]):
            raise DatasetError(f"{path}: the segmentation of annotation {row['id']} {fault}. Mend or remove it.")


def _mask_fault(mask: Any, size: tuple[int, int]) -> str:
    """What is wrong with a segmentation of an image of `size` (height, width); "" when nothing is, or there is none."""
    if not mask:
        return ""
    if isinstance(mask, list):
        return _polygon_fault(mask)
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), list | str):
        return "is neither polygons nor run lengths"
    if mask.get("size") != list(size):
        return f"is of size {mask.get('size')}, and its image of {list(size)}"
    counts = _run_lengths(mask["counts"])
    if counts is None or (counts < 0).any() or counts.sum() != size[0] * size[1]:
        return "has run lengths that do not add up to the pixels of its image"
    return ""


def _polygon_fault(polygons: list[Any]) -> str:
    lengths = [len(polygon) if isinstance(polygon, list) else 0 for polygon in polygons]
    # pycocotools takes four numbers for a box.
    if min(lengths) < 6 and set(lengths) != {4}:
        return "has a polygon of less than three points"
    try:
        arrays = [np.array(polygon, dtype=np.float64) for polygon in polygons]
    except (ValueError, TypeError, OverflowError):
        return "has a polygon that is not a flat list of numbers"
    if any(array.ndim != 1 for array in arrays):
        return "has a polygon that is not a flat list of numbers"
    return "" if all(np.abs(array).max() <= FAR for array in arrays) else "has a point far outside the image"


def _run_lengths(counts: list[Any] | str) -> np.ndarray | None:
    """int64 run lengths, plain or from COCO's text form; None when they cannot be read.

    The text form (pycocotools common/maskApi.c, rleFrString): five bits a character from "0" on, the lowest first, the
    sixth bit says that more follow; from the fourth number on the difference to the one two before.
    """
    if isinstance(counts, list):
        plain = all(type(count) is int and abs(count) < 2**32 for count in counts)
        return np.array(counts, dtype=np.int64) if plain else None
    codes = np.frombuffer(counts.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(codes & 32 == 0)
    if not codes.size or codes.min() < 0 or codes.max() > 63 or not ends.size or ends[-1] != codes.size - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:
        return None
    places = np.arange(codes.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    values -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values
