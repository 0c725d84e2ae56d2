"""COCO's panoptic annotations: a json, and a folder of PNGs whose colours are segment ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import DatasetError
from d2deploy.image import read_image
from d2deploy.metrics.fields import (
    ID,
    IMAGE,
    IS_CROWD,
    IS_THING,
    ROWS,
    TEXT,
    WHOLE,
    Fields,
    check_ids,
    check_rows,
    read_json,
)
from d2deploy.metrics.panoptic import VOID, Category, PanopticTruth, TrueSegment

_LISTS: dict[str, tuple[Fields, str]] = {  # with the field that no two entries share
    "images": (IMAGE, "id"),
    "categories": ({"id": WHOLE, "name": TEXT, "isthing": IS_THING}, "id"),
    "annotations": ({"image_id": ID, "file_name": TEXT, "segments_info": ROWS}, "image_id"),
}
_SEGMENT: Fields = {"id": WHOLE, "category_id": WHOLE, "iscrowd": IS_CROWD}


@dataclass(frozen=True, kw_only=True, eq=False)
class PanopticAnnotations:
    """What a panoptic json says; its PNGs are read when they are asked for."""

    path: Path
    root: Path  # of the PNGs
    images: tuple[dict[str, Any], ...]  # id, file_name, height, width; by id
    categories: tuple[Category, ...]  # by id
    files: dict[int | str, str]  # image id -> PNG
    segments: dict[int | str, tuple[TrueSegment, ...]]  # by image id

    def check_present(self, image_ids: Iterable[int | str]) -> None:
        """Raises DatasetError unless each of these images is annotated and its PNG is there."""
        for image_id in image_ids:
            if image_id not in self.files:
                raise DatasetError(f"{self.path} has no annotation of image {image_id}. Give those of the same images.")
            if not (self.root / self.files[image_id]).is_file():
                raise DatasetError(
                    f"{self.root} lacks {self.files[image_id]}, which {self.path} names for image {image_id}. "
                    f"Give the folder of its PNGs."
                )

    def truth(self, image_id: int | str) -> PanopticTruth:
        """The annotation of one image. Raises ImageError; DatasetError: a PNG of other segments than the json's."""
        file = self.root / self.files[image_id]
        blue_green_red = read_image(file).astype(np.int64)
        segment_ids = blue_green_red @ (65536, 256, 1)
        segments = self.segments[image_id]
        if segments and not np.isin(segment_ids, [segment.id for segment in segments]).any():
            raise DatasetError(
                f"{file} shows none of the {len(segments)} segments that {self.path} lists for image {image_id}. "
                f"Give the PNGs that belong to it: red + 256 green + 65536 blue is a segment's id."
            )
        return PanopticTruth(segment_ids=segment_ids, segments=segments)


def read_panoptic(path: str | Path, root: str | Path) -> PanopticAnnotations:
    """The annotations in a COCO panoptic json, its PNGs below `root`. A segment without `iscrowd` is none.

    Raises DatasetError: missing, not JSON, or without what an evaluation needs.
    """
    content = read_json(path, "panoptic annotations")
    for name, (fields, key) in _LISTS.items():
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise DatasetError(f"{path} is no panoptic json: it has no list {name!r}. Give a panoptic_*.json.")
        check_rows(rows, fields, where=str(path), name=name)
        check_ids([row[key] for row in rows], f"{path}: {name!r}")
    categories = sorted(Category(row["id"], row["name"], bool(row["isthing"])) for row in content["categories"])
    known = {category.id for category in categories}
    return PanopticAnnotations(
        path=Path(path),
        root=Path(root),
        images=tuple(sorted(content["images"], key=lambda row: row["id"])),
        categories=tuple(categories),
        files={row["image_id"]: row["file_name"] for row in content["annotations"]},
        segments={row["image_id"]: _segments(row, known, str(path)) for row in content["annotations"]},
    )


def _segments(row: dict[str, Any], categories: set[int], path: str) -> tuple[TrueSegment, ...]:
    where = f"{path}, image {row['image_id']}"
    check_rows(row["segments_info"], _SEGMENT, where=where, name="segments_info")
    segments = tuple(
        TrueSegment(info["id"], info["category_id"], bool(info.get("iscrowd", 0))) for info in row["segments_info"]
    )
    check_ids([segment.id for segment in segments], f"{where}: 'segments_info'")
    for segment in segments:
        if segment.category_id not in categories:
            raise DatasetError(
                f"{where}: segment {segment.id} is of category {segment.category_id}, which the file does not list. "
                f"Mend the segment, or list the category."
            )
        if not VOID < segment.id < 256**3:
            raise DatasetError(f"{where}: a segment has the id {segment.id}; a PNG can hold 1 to {256**3 - 1}.")
    return segments
