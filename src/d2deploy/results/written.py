"""Results as JSON and as COCO records. Class ids are contiguous in the one, the data set's in the other."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from d2deploy.results.dense_pose import DensePose, DensePoseChart
from d2deploy.results.instances import Instances, Proposals
from d2deploy.results.regions import PanopticResult, Segment, SemanticResult

Json = dict[str, Any]


class _Names:
    """Class names by contiguous id; the number itself where there is no name."""

    def __init__(self, class_names: Sequence[str], sem_seg_names: Sequence[str]) -> None:
        self._things, self._channels = class_names, sem_seg_names

    def thing(self, class_id: int) -> str:
        return self._things[class_id] if self._things else str(class_id)

    def channel(self, class_id: int) -> str:
        return self._channels[class_id] if self._channels else str(class_id)

    def segment(self, segment: Segment) -> str:
        return (self.thing if segment.is_thing else self.channel)(segment.category_id)


def to_json(
    result: Instances | Proposals | SemanticResult | PanopticResult,
    *,
    class_names: Sequence[str],
    file: str,
    sem_seg_names: Sequence[str] = (),
) -> Json:
    """One entry of `predict --json`: pixels of the original image, contiguous class ids, masks as COCO RLE.

    Beside file, height and width: `instances`, `proposals`, `classes` (of a semantic network: those that were seen), or
    `instances` and `segments_info`. `class_names` are those of detections, `sem_seg_names` those of the channels of
    sem_seg; where one is empty, a class's name is its number.
    """
    height, width = result.image_size
    content = _JSON[type(result)](result, _Names(class_names, sem_seg_names))
    return {"file": file, "height": height, "width": width, **content}


def _instances(instances: Instances, names: _Names) -> Json:
    rows = [
        {
            "box": box,
            "score": score,
            "class_id": class_id,
            "class_name": names.thing(class_id),
            **({} if mask is None else {"mask": mask}),
            **({} if keypoints is None else {"keypoints": keypoints}),
        }
        for box, score, class_id, mask, keypoints in _rows(instances)
    ]
    if instances.pred_densepose is not None:
        for row, surface in zip(rows, instances.pred_densepose, strict=True):
            row["densepose"] = encode_dense_pose(surface)
    return {"instances": rows}


def _proposals(proposals: Proposals, names: _Names) -> Json:
    boxes, logits = proposals.proposal_boxes.tolist(), proposals.objectness_logits.tolist()
    rows = [{"box": box, "objectness_logit": logit} for box, logit in zip(boxes, logits, strict=True)]
    return {"proposals": rows}


def _semantic(semantic: SemanticResult, names: _Names) -> Json:
    rows = [
        {
            "class_id": class_id,
            "class_name": names.channel(class_id),
            "area": int(mask.sum()),
            "mask": encode_mask(mask),
        }
        for class_id, mask in _classes(semantic)
    ]
    return {"classes": rows}


def _panoptic(panoptic: PanopticResult, names: _Names) -> Json:
    rows = []
    for segment in panoptic.segments:
        mask = panoptic.panoptic_seg == segment.id
        rows.append(
            {
                "id": segment.id,
                "isthing": segment.is_thing,
                "class_id": segment.category_id,
                "class_name": names.segment(segment),
                **({} if segment.score is None else {"score": segment.score}),
                **({} if segment.instance_id is None else {"instance_id": segment.instance_id}),
                "area": int(mask.sum()),
                "mask": encode_mask(mask),
            }
        )
    instances = {} if panoptic.instances is None else _instances(panoptic.instances, names)
    return {**instances, "segments_info": rows}


_JSON: dict[type, Callable[[Any, _Names], Json]] = {
    Instances: _instances,
    PanopticResult: _panoptic,
    Proposals: _proposals,
    SemanticResult: _semantic,
}


def to_coco(
    result: Instances | Proposals | SemanticResult | PanopticResult, *, image_id: int, category_ids: Sequence[int]
) -> list[Json]:
    """COCO result records: `bbox` is x y width height; `category_ids` maps contiguous ids to dataset ids.

    Rotated boxes: center x, y, width, height, degrees, as detectron2's RotatedCOCOEvaluator writes them. Of a semantic
    result one record for each class that was seen, of a panoptic one those of its instances, of proposals one each,
    of category 0, with the logit as score.
    """
    return [{"image_id": image_id, **record} for record in _COCO[type(result)](result, category_ids)]


def _coco_instances(instances: Instances, category_ids: Sequence[int]) -> Iterator[Json]:
    for box, score, class_id, mask, keypoints in _rows(instances):
        yield {
            "category_id": category_ids[class_id],
            "bbox": _coco_box(box),
            "score": score,
            **({} if mask is None else {"segmentation": mask}),
            **({} if keypoints is None else {"keypoints": _coco_keypoints(keypoints)}),
        }


def _coco_proposals(proposals: Proposals, category_ids: Sequence[int]) -> Iterator[Json]:
    logits = proposals.objectness_logits.tolist()
    for box, logit in zip(proposals.proposal_boxes.tolist(), logits, strict=True):
        yield {"category_id": 0, "bbox": _coco_box(box), "score": logit}


def _coco_semantic(semantic: SemanticResult, category_ids: Sequence[int]) -> Iterator[Json]:
    for class_id, mask in _classes(semantic):
        yield {"category_id": category_ids[class_id], "segmentation": encode_mask(mask)}


def _coco_panoptic(panoptic: PanopticResult, category_ids: Sequence[int]) -> Iterator[Json]:
    if panoptic.instances is not None:
        yield from _coco_instances(panoptic.instances, category_ids)


_COCO: dict[type, Callable[[Any, Sequence[int]], Iterator[Json]]] = {
    Instances: _coco_instances,
    PanopticResult: _coco_panoptic,
    Proposals: _coco_proposals,
    SemanticResult: _coco_semantic,
}


def _coco_box(box: list[float]) -> list[float]:
    if len(box) == 5:
        return box
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _coco_keypoints(keypoints: list[list[float]]) -> list[float]:
    """Flat, and half a pixel less: COCO counts pixels where we measure (detectron2 coco_evaluation.py)."""
    return [number for x, y, score in keypoints for number in (x - 0.5, y - 0.5, score)]


_Row = tuple[list[float], float, int, Json | None, list[list[float]] | None]


def _rows(instances: Instances) -> Iterator[_Row]:
    boxes, scores, classes = (a.tolist() for a in (instances.pred_boxes, instances.scores, instances.pred_classes))
    for i in range(len(instances)):
        mask = None if instances.pred_masks is None else encode_mask(instances.pred_masks[i])
        keypoints = None if instances.pred_keypoints is None else instances.pred_keypoints[i].tolist()
        yield boxes[i], scores[i], classes[i], mask, keypoints


def _classes(semantic: SemanticResult) -> Iterator[tuple[int, np.ndarray]]:
    """(class id, its pixels as bool [H,W]) of each class that was seen."""
    for class_id in np.unique(semantic.labels).tolist():
        yield class_id, semantic.labels == class_id


def encode_mask(mask: np.ndarray) -> Json:
    """COCO's compressed run lengths of a mask [H,W] bool, fit for JSON: {"size": [h, w], "counts": str}."""
    from pycocotools import mask as rle  # late: who wants boxes only need not wait for it

    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(edge) for edge in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def encode_dense_pose(surface: DensePose) -> Json:
    """Where it begins, "x" and "y", and a PNG of three channels in base64, which begins there.

    "labels_uv": part, u and v, the last two times 255, cut off and rounded down, as detectron2 writes them (DensePose,
    structures/chart_result.py). "vertices" of "mesh": the vertex plus 1 as a number of three digits of base 256, the
    highest first; 0: not on the body.
    """
    place = {"x": surface.x, "y": surface.y}
    if isinstance(surface, DensePoseChart):
        uv = (surface.uv * 255).clip(0, 255).astype(np.uint8)
        return {**place, "labels_uv": _png(np.stack((surface.labels, *uv), axis=-1))}
    numbers = surface.surface[..., None] >> np.array((16, 8, 0))
    return {**place, "mesh": surface.mesh, "vertices": _png((numbers & 255).astype(np.uint8))}


def _png(pixels: np.ndarray) -> str:
    """uint8 [h,w,3] as a PNG in base64."""
    from PIL import Image  # late: as above

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
