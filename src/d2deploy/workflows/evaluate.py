"""COCO AP of a model, exported or not, on annotated images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2deploy.errors import DatasetError
from d2deploy.metrics.coco import Metrics, evaluate_coco, has_masks, read_coco
from d2deploy.predictor import Predictor
from d2deploy.results import Instances, to_coco
from d2deploy.runner import Source

if TYPE_CHECKING:
    from pycocotools.coco import COCO

Progress = Callable[[int, int], None]
"""Called after each image with (images done, images in all)."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The measured APs, the COCO result records they were counted from, and the time from file to detections."""

    metrics: Metrics
    results: list[dict[str, Any]]
    seconds_per_image: float  # mean, reading the image included


def evaluate(
    source: Source | str | Path,
    *,
    coco_json: str | Path,
    image_root: str | Path,
    progress: Progress | None = None,
    limit: int | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Run `source` (an artifact, its folder or an eager model) over the images of `coco_json`, and measure AP.

    One image at a time; masks become run lengths at once, so memory does not grow with the data set. Contiguous
    class ids stand for the json's category ids in ascending order, as in detectron2. Mask AP is measured when both
    model and annotations have masks. `limit`: the first images by id only.

    Raises DatasetError (unreadable json, missing image, an image of another size, a number of classes that differs),
    ImageError, and what Predictor raises.
    """
    coco = read_coco(coco_json)
    images = _images(coco, limit)
    _check_present(images, Path(image_root))
    annotations_have_masks = has_masks(coco)
    results: list[dict[str, Any]] = []
    with Predictor(source, device=device) as predictor:
        category_ids = sorted(coco.getCatIds())
        _check_classes(predictor.spec.num_classes, category_ids, coco_json)
        outputs = {tensor.name for tensor in predictor.spec.outputs}
        sigmas = predictor.spec.keypoint_sigmas
        seconds = 0.0
        for number, image in enumerate(images, start=1):
            start = time.perf_counter()
            instances = predictor(Path(image_root) / image["file_name"])
            seconds += time.perf_counter() - start
            _check_size(instances, image)
            results += to_coco(instances, image_id=image["id"], category_ids=category_ids)
            if progress is not None:
                progress(number, len(images))
    iou_types = ["bbox"]
    if "mask_probs" in outputs and annotations_have_masks:
        iou_types.append("segm")
    if "keypoint_heatmaps" in outputs and any(row.get("keypoints") for row in coco.dataset["annotations"]):
        iou_types.append("keypoints")
    metrics = evaluate_coco(
        results,
        coco,
        iou_types=iou_types,
        image_ids=[image["id"] for image in images],
        keypoint_sigmas=sigmas,
    )
    return Evaluation(metrics=metrics, results=results, seconds_per_image=seconds / len(images))


def check_data(source: Source, *, coco_json: str | Path, image_root: str | Path, limit: int | None = None) -> None:
    """Raises, before any image is run, the DatasetError that evaluate would raise about annotations and images."""
    coco = read_coco(coco_json)
    _check_present(_images(coco, limit), Path(image_root))
    has_masks(coco)
    _check_classes(source.spec.num_classes, sorted(coco.getCatIds()), coco_json)


def _images(coco: "COCO", limit: int | None) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = coco.loadImgs(sorted(coco.getImgIds())[:limit])
    if not images:
        raise DatasetError("There is no image to evaluate: the annotations list none, or the limit is 0.")
    return images


def _check_present(images: Sequence[dict[str, Any]], image_root: Path) -> None:
    names = [image["file_name"] for image in images]
    missing = [name for name in names if not (image_root / name).is_file()]
    if missing:
        raise DatasetError(
            f"{image_root} lacks {len(missing)} of {len(images)} images, {missing[0]} among them. "
            f"Give the folder that the json's file_name values start from."
        )


def _check_classes(num_classes: int, category_ids: Sequence[int], coco_json: str | Path) -> None:
    if num_classes != len(category_ids):
        raise DatasetError(
            f"The model has {num_classes} classes, {coco_json} has {len(category_ids)} categories. "
            f"Evaluate on the annotations of the data set that the model was trained for."
        )


def _check_size(instances: Instances, image: dict[str, Any]) -> None:
    height, width = instances.image_size
    if (height, width) != (image["height"], image["width"]):
        raise DatasetError(
            f"{image['file_name']} has {width} x {height} pixels, its annotation says {image['width']} x "
            f"{image['height']}. Give the images that were annotated."
        )
