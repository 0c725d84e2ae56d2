"""COCO box, mask and keypoint AP: pycocotools counts, this file reads and names as detectron2 does."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from d2deploy.errors import DatasetError
from d2deploy.metrics.annotations import check_dataset
from d2deploy.metrics.fields import read_json
from d2deploy.metrics.scores import Metrics

if TYPE_CHECKING:
    from pycocotools.coco import COCO

IOU_TYPES = ("bbox", "segm")  # what an evaluation without a wish measures
CATEGORY = "AP-"

# Axes of pycocotools' precision array: IoU threshold (0.5, 0.55 ... 0.95), recall, category, area range (all, small,
# medium, large), detections per image and class (one cap).
SUMMARY: dict[str, tuple[int | slice, int]] = {
    "AP": (slice(None), 0),
    "AP50": (0, 0),
    "AP75": (5, 0),
    "APs": (slice(None), 1),
    "APm": (slice(None), 2),
    "APl": (slice(None), 3),
}


# Keypoints have no small objects.
KEYPOINT_SUMMARY: dict[str, tuple[int | slice, int]] = {
    "AP": (slice(None), 0),
    "AP50": (0, 0),
    "AP75": (5, 0),
    "APm": (slice(None), 1),
    "APl": (slice(None), 2),
}
COCO_KEYPOINTS = 17  # pycocotools has sigmas for these


def read_coco(path: str | Path) -> "COCO":
    """The annotations in a COCO json, indexed. An annotation without `iscrowd` is none.

    Raises DatasetError: missing, not JSON, or without what an evaluation needs.
    """
    from pycocotools.coco import COCO

    dataset = read_json(path, "COCO annotations")
    check_dataset(dataset, path)
    for annotation in dataset["annotations"]:
        annotation.setdefault("iscrowd", 0)
    coco = COCO()
    coco.dataset = dataset
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def has_masks(coco: "COCO") -> bool:
    """Whether the annotations have masks. Raises DatasetError when some have and some do not."""
    annotations = coco.dataset["annotations"]
    lacking = [annotation["id"] for annotation in annotations if not annotation.get("segmentation")]
    if lacking and len(lacking) < len(annotations):
        raise DatasetError(
            f"{len(lacking)} of {len(annotations)} annotations have no segmentation, the one with id {lacking[0]} "
            f"among them. Add theirs, or remove that of all to evaluate boxes only."
        )
    return not lacking


def evaluate_coco(
    results: Sequence[Mapping[str, Any]],
    coco_json: "str | Path | COCO",
    *,
    iou_types: Sequence[str] = IOU_TYPES,
    image_ids: Sequence[int] | None = None,
    max_detections: int = 100,
    keypoint_sigmas: Sequence[float] = (),
) -> Metrics:
    """AP of COCO result records (as results.to_coco writes them) on the annotations of `coco_json`.

    `image_ids`: the images to count, all without it; `max_detections`: the best of each image and class that count;
    `keypoint_sigmas`: how exactly people mark each keypoint, for the IoU type "keypoints" (empty: COCO's 17).
    Numbers as detectron2 evaluation/coco_evaluation.py (02b5c4e2): no result at all gives NaN, a single class no
    number of its own. Raises DatasetError: unreadable annotations; results of other images or categories; masks
    asked for that results or annotations do not have.
    """
    coco = read_coco(coco_json) if isinstance(coco_json, str | Path) else coco_json
    _check_results(results, coco)
    if not results:
        return Metrics({iou_type: dict.fromkeys(_summary_of(iou_type), math.nan) for iou_type in iou_types})
    names = [category["name"] for category in coco.loadCats(sorted(coco.getCatIds()))]
    scores = {}
    for iou_type in iou_types:
        if iou_type == "segm":
            _check_masks(results, coco)
        if iou_type == "keypoints":
            _check_keypoints(coco, keypoint_sigmas)
        evaluation = _evaluation(results, coco, iou_type)
        if iou_type != "keypoints":
            evaluation.params.maxDets = [max_detections]
        elif keypoint_sigmas:
            evaluation.params.kpt_oks_sigmas = np.array(keypoint_sigmas)
        scores[iou_type] = _summarise(_precision(evaluation, image_ids), names, _summary_of(iou_type))
    return Metrics(scores)


def _summary_of(iou_type: str) -> dict[str, tuple[int | slice, int]]:
    return KEYPOINT_SUMMARY if iou_type == "keypoints" else SUMMARY


def _evaluation(results: Sequence[Mapping[str, Any]], coco: "COCO", iou_type: str) -> Any:
    from pycocotools.cocoeval import COCOeval

    # Small, medium and large go by the area of what is measured: pycocotools takes the box's whenever it sees one.
    dropped = "bbox" if iou_type == "segm" else "segmentation"
    records = [{key: value for key, value in record.items() if key != dropped} for record in results]
    with redirect_stdout(io.StringIO()):
        return COCOeval(coco, coco.loadRes(records), iou_type)


def _precision(evaluation: Any, image_ids: Sequence[int] | None) -> np.ndarray:
    """pycocotools' precision: float64 [thresholds, recalls, categories, areas, caps], -1 where undefined."""
    if image_ids is not None:
        evaluation.params.imgIds = list(image_ids)
    with redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision: np.ndarray = evaluation.eval["precision"]
    return precision


def _summarise(
    precision: np.ndarray, names: Sequence[str], summary: Mapping[str, tuple[int | slice, int]]
) -> dict[str, float]:
    scores = {key: _mean(precision[iou, :, :, area, -1]) for key, (iou, area) in summary.items()}
    if len(names) > 1:
        scores |= {CATEGORY + name: _mean(precision[:, :, k, 0, -1]) for k, name in enumerate(names)}
    return scores


def _mean(precision: np.ndarray) -> float:
    defined = precision[precision > -1]
    return float(defined.mean() * 100) if defined.size else math.nan


def _check_results(results: Sequence[Mapping[str, Any]], coco: "COCO") -> None:
    images, categories = set(coco.getImgIds()), set(coco.getCatIds())
    for record in results:
        if record["image_id"] not in images or record["category_id"] not in categories:
            raise DatasetError(
                f"A result is of image {record['image_id']} and category {record['category_id']}, not both of which "
                f"the annotations have. Evaluate on the data set that the results were made from."
            )


def _check_keypoints(coco: "COCO", sigmas: Sequence[float]) -> None:
    counts = {len(row.get("keypoints", ())) // 3 for row in coco.dataset["annotations"]}
    if counts != {len(sigmas) or COCO_KEYPOINTS}:
        raise DatasetError(
            f"Keypoint AP needs a sigma for each keypoint: there are {len(sigmas) or COCO_KEYPOINTS}, and the "
            f"annotations have {', '.join(map(str, sorted(counts)))} keypoints. Set TEST.KEYPOINT_OKS_SIGMAS."
        )


def _check_masks(results: Sequence[Mapping[str, Any]], coco: "COCO") -> None:
    for what, rows in (("result", results), ("annotation", coco.dataset["annotations"])):
        if lacking := sum(not row.get("segmentation") for row in rows):
            raise DatasetError(f"Mask AP needs masks: {lacking} of {len(rows)} {what}s have none. Evaluate boxes only.")
