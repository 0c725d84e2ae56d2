"""Is it a COCO annotation file, in every field that an evaluation reads?

pycocotools does not ask: it breaks in the middle, counts wrongly, or takes all memory for a few damaged run lengths.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import DatasetError

FAR = 1_000_000  # pixels; pycocotools walks along every edge of a polygon


def check_dataset(dataset: Any, path: str | Path) -> None:
    """Raises DatasetError, which names the entry of file `path`, for content that cannot be evaluated."""
    for name, fields in _FIELDS.items():
        rows = dataset.get(name) if isinstance(dataset, dict) else None
        if not isinstance(rows, list):
            raise DatasetError(f"{path} is no COCO annotation file: it has no list {name!r}. Give an instances_*.json.")
        for number, row in enumerate(rows):
            _check_row(row, fields, f"{path}: entry {number} of {name!r}")
        _check_ids([row["id"] for row in rows], f"{path}: {name!r}")
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


def _is_id(value: Any) -> bool:
    return type(value) in (int, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_edge(value: Any) -> bool:
    return type(value) is int and value > 0


# list -> field -> (what it must be, the same in words)
_FIELDS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "images": {
        "id": (_is_id, "a whole number"),
        "file_name": (_is_text, "a text"),
        "height": (_is_edge, "a whole number above 0"),
        "width": (_is_edge, "a whole number above 0"),
    },
    "categories": {"id": (_is_id, "a whole number"), "name": (_is_text, "a text")},
    "annotations": {
        "id": (_is_whole, "a whole number"),
        "image_id": (_is_id, "a whole number"),
        "category_id": (_is_id, "a whole number"),
        "bbox": (_is_box, "four numbers: x, y, width, height"),
        "area": (_is_number, "a number"),
    },
}


def _check_row(row: Any, fields: dict[str, tuple[Callable[[Any], bool], str]], where: str) -> None:
    if lacking := [name for name in fields if not isinstance(row, dict) or name not in row]:
        raise DatasetError(f"{where} has no {', '.join(lacking)}. Add what is lacking.")
    for name, (fits, wanted) in fields.items():
        if not fits(row[name]):
            raise DatasetError(f"{where}: {name} is {str(row[name])[:80]!r}; it must be {wanted}.")
    if row.get("iscrowd", 0) not in (0, 1):
        raise DatasetError(f"{where}: iscrowd is {str(row['iscrowd'])[:80]!r}; it must be 0 or 1.")


def _check_ids(ids: Sequence[int | str], where: str) -> None:
    if len(set(map(type, ids))) > 1:
        raise DatasetError(f"{where} has ids that are numbers and ids that are texts. Use one kind.")
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise DatasetError(f"{where} has the id {twice} twice. Give each entry an id of its own.")


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
