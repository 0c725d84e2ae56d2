"""What a model found on one image: frozen numpy, and its two written forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """One image's detections in pixels of the original image, best first. Field names as in detectron2."""

    image_size: tuple[int, int]  # (height, width) of the original image
    pred_boxes: np.ndarray  # [N,4] float32 x1 y1 x2 y2; of rotated models [N,5] center x, y, width, height, degrees
    scores: np.ndarray  # [N] float32
    pred_classes: np.ndarray  # [N] int64, contiguous ids
    pred_masks: np.ndarray | None = None  # [N,H,W] bool
    pred_keypoints: np.ndarray | None = None  # [N,K,3] float32 x, y, score; not clipped to the image

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray | slice) -> "Instances":
        """The detections that `rows` (bool or int64 array, or a slice) selects."""
        return Instances(
            image_size=self.image_size,
            pred_boxes=self.pred_boxes[rows],
            scores=self.scores[rows],
            pred_classes=self.pred_classes[rows],
            pred_masks=None if self.pred_masks is None else self.pred_masks[rows],
            pred_keypoints=None if self.pred_keypoints is None else self.pred_keypoints[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """Where in one image objects may be, best first, in pixels of the original image."""

    image_size: tuple[int, int]
    proposal_boxes: np.ndarray  # [N,4] float32 x1 y1 x2 y2
    objectness_logits: np.ndarray  # [N] float32, before a sigmoid

    def __len__(self) -> int:
        return len(self.objectness_logits)


@dataclass(frozen=True, kw_only=True, eq=False)
class SemanticResult:
    """What every pixel of the original image is."""

    image_size: tuple[int, int]
    sem_seg: np.ndarray  # [C,H,W] float32 logits, as detectron2 gives them

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of each pixel, int64 [H,W]."""
        return self.sem_seg.argmax(axis=0)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One region of a panoptic picture. `category_id` counts things from 0, and stuff as the channels of sem_seg."""

    id: int  # its value in panoptic_seg
    is_thing: bool
    category_id: int
    score: float | None = None  # of a thing that is a detection
    instance_id: int | None = None  # the row of that detection
    area: int | None = None  # pixels, of stuff


@dataclass(frozen=True, kw_only=True, eq=False)
class PanopticResult:
    """Every pixel of the original image as part of one region: a thing, or a kind of stuff."""

    image_size: tuple[int, int]
    panoptic_seg: np.ndarray  # [H,W] int32: ids of segments; 0: none
    segments: tuple[Segment, ...]
    sem_seg: SemanticResult
    instances: Instances | None


Result = Instances | Proposals | SemanticResult | PanopticResult
"""What a network says about an image, by its kind."""


def to_json(instances: Instances, *, class_names: Sequence[str], file: str) -> dict[str, Any]:
    """One entry of `predict --json`: pixels of the original image, contiguous class ids, masks as COCO RLE.

    `class_names` may be empty: then a class's name is its number.
    """
    height, width = instances.image_size
    rows = [
        {
            "box": box,
            "score": score,
            "class_id": class_id,
            "class_name": class_names[class_id] if class_names else str(class_id),
            **({} if mask is None else {"mask": mask}),
            **({} if keypoints is None else {"keypoints": keypoints}),
        }
        for box, score, class_id, mask, keypoints in _rows(instances)
    ]
    return {"file": file, "height": height, "width": width, "instances": rows}


def to_coco(instances: Instances, *, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """COCO result records: `bbox` is x y width height; `category_ids` maps contiguous ids to dataset ids."""
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[class_id],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
            **({} if mask is None else {"segmentation": mask}),
            **({} if keypoints is None else {"keypoints": _coco_keypoints(keypoints)}),
        }
        for (x1, y1, x2, y2), score, class_id, mask, keypoints in _rows(instances)
    ]


def _coco_keypoints(keypoints: list[list[float]]) -> list[float]:
    """Flat, and half a pixel less: COCO counts pixels where we measure (detectron2 coco_evaluation.py)."""
    return [number for x, y, score in keypoints for number in (x - 0.5, y - 0.5, score)]


_Row = tuple[list[float], float, int, dict[str, Any] | None, list[list[float]] | None]


def _rows(instances: Instances) -> Iterator[_Row]:
    boxes, scores, classes = (a.tolist() for a in (instances.pred_boxes, instances.scores, instances.pred_classes))
    for i in range(len(instances)):
        mask = None if instances.pred_masks is None else encode_mask(instances.pred_masks[i])
        keypoints = None if instances.pred_keypoints is None else instances.pred_keypoints[i].tolist()
        yield boxes[i], scores[i], classes[i], mask, keypoints


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask [H,W] bool, fit for JSON: {"size": [h, w], "counts": str}."""
    from pycocotools import mask as rle  # late: who wants boxes only need not wait for it

    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(edge) for edge in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
