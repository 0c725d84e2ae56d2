"""What results are measured on: which images, and their annotations, found and checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict, Unpack

from d2deploy.errors import DatasetError
from d2deploy.metrics.coco import read_coco
from d2deploy.metrics.panoptic_annotations import PanopticAnnotations, read_panoptic
from d2deploy.workflows.predict import SUFFIXES

if TYPE_CHECKING:
    from pycocotools.coco import COCO

# What the name of an image ends with, before its type -> what its PNG of class numbers has instead. Cityscapes names
# its files so (detectron2 data/datasets/cityscapes.py); all others as the image.
_ENDINGS = {"_leftImg8bit": "_gtFine_labelTrainIds", "": ""}


class Data(TypedDict, total=False):
    """The arguments that say which images of which annotations; one kind of annotations at least."""

    image_root: Required[str | Path | None]  # the folder that names of images start from
    coco_json: str | Path | None  # boxes, masks, keypoints
    panoptic_json: str | Path | None
    panoptic_root: str | Path | None  # the folder of the PNGs that panoptic_json names
    sem_seg_root: str | Path | None  # PNGs of class numbers, 255 ignored, with the names of the images
    limit: int | None  # the first images by id only


class Image(NamedTuple):
    """One image to measure on."""

    id: Any  # a number, or a text
    file: Path
    size: tuple[int, int] | None  # (height, width) that its annotation says; None: it does not say
    sem_seg: Path | None  # its PNG of class numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruth:
    """The images, and the annotations of each kind that was given."""

    images: Sequence[Image]
    coco: "COCO | None"
    coco_json: str  # for messages
    panoptic: PanopticAnnotations | None


def read_ground_truth(**data: Unpack[Data]) -> GroundTruth:
    """What `data` names.

    Raises DatasetError: arguments that are lacking, unreadable annotations, an image or annotation that is not there.
    """
    image_root, given = _checked(data)
    coco = read_coco(given["coco_json"]) if "coco_json" in given else None
    panoptic = read_panoptic(given["panoptic_json"], given["panoptic_root"]) if "panoptic_json" in given else None
    sem_seg_root = given.get("sem_seg_root")
    if coco is not None:
        images = _listed(coco.loadImgs(sorted(coco.getImgIds())), image_root, sem_seg_root)
    elif panoptic is not None:
        images = _listed(panoptic.images, image_root, sem_seg_root)
    else:
        images = _annotated(image_root, given["sem_seg_root"])
    images = images[: data.get("limit")]
    if not images:
        raise DatasetError("There is no image to evaluate: the annotations list none, or the limit is 0.")
    _check_present([image.file for image in images], image_root, "images")
    if sem_seg_root is not None:
        _check_present([image.sem_seg for image in images if image.sem_seg], sem_seg_root, "annotations")
    if panoptic is not None:
        panoptic.check_present([image.id for image in images])
    return GroundTruth(images=images, coco=coco, coco_json=str(given.get("coco_json", "")), panoptic=panoptic)


def _checked(data: Data) -> tuple[Path, dict[str, Path]]:
    given = {key: Path(str(value)) for key, value in data.items() if value is not None and key != "limit"}
    image_root = given.pop("image_root", None)
    if image_root is None or not given or ("panoptic_json" in given) != ("panoptic_root" in given):
        raise DatasetError(
            "Give --image-root, the folder of the images, and one or more of --coco-json, --sem-seg-root, and "
            "--panoptic-json together with --panoptic-root."
        )
    return image_root, given


def _listed(rows: Sequence[Mapping[str, Any]], image_root: Path, sem_seg_root: Path | None) -> list[Image]:
    """Images that a json lists."""
    images = []
    by_id: dict[int | str, Path] | None = None
    for row in rows:
        file = image_root / row["file_name"]
        if not file.is_file():
            by_id = _cityscapes(image_root) if by_id is None else by_id
            file = by_id.get(row["id"], file)
        sem_seg = sem_seg_root and sem_seg_root / _annotation_of(_below(image_root, file))
        images.append(Image(row["id"], file, (row["height"], row["width"]), sem_seg))
    return images


def _cityscapes(image_root: Path) -> dict[int | str, Path]:
    """Image id -> file. A panoptic json of Cityscapes does not name the files, only what their names start with."""
    ending = next(iter(_ENDINGS))
    return {path.stem.removesuffix(ending): path for path in image_root.rglob(f"*{ending}.png")}


def _annotated(image_root: Path, sem_seg_root: Path) -> list[Image]:
    """Images that have a PNG of class numbers."""
    files = sorted(path for path in image_root.rglob("*") if path.suffix.lower() in SUFFIXES)
    by_annotation = {_annotation_of(_below(image_root, path)): path for path in files}
    annotations = sorted(sem_seg_root.rglob("*.png"))
    for ending in filter(None, _ENDINGS.values()):
        annotations = [path for path in annotations if path.stem.endswith(ending)] or annotations
    images = []
    for path in annotations:
        name = _below(sem_seg_root, path)
        images.append(Image(str(name.with_suffix("")), by_annotation.get(name, image_root / name), None, path))
    return images


def _annotation_of(image: Path) -> Path:
    ending = next(ending for ending in _ENDINGS if image.stem.endswith(ending))
    return image.with_name(image.stem.removesuffix(ending) + _ENDINGS[ending] + ".png")


def _below(root: Path, file: Path) -> Path:
    """Its name from `root` on; the bare one of a file that lies elsewhere."""
    return file.relative_to(root) if file.is_relative_to(root) else Path(file.name)


def _check_present(files: Sequence[Path], root: Path, what: str) -> None:
    if missing := [file for file in files if not file.is_file()]:
        raise DatasetError(
            f"{root} lacks {len(missing)} of {len(files)} {what}, {_below(root, missing[0])} among them. "
            f"Give the folder that the names of images start from."
        )
