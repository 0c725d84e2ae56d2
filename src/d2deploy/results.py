"""What a model found on one image: frozen numpy, and its two written forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """One image's detections in pixels of the original image, best first. Field names as in detectron2."""

    image_size: tuple[int, int]  # (height, width) of the original image
    pred_boxes: np.ndarray  # [N,4] float32 x1 y1 x2 y2
    scores: np.ndarray  # [N] float32
    pred_classes: np.ndarray  # [N] int64, contiguous ids
    pred_masks: np.ndarray | None = None  # [N,H,W] bool

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
        )


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
        }
        for box, score, class_id, mask in _rows(instances)
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
        }
        for (x1, y1, x2, y2), score, class_id, mask in _rows(instances)
    ]


def _rows(instances: Instances) -> Iterator[tuple[list[float], float, int, dict[str, Any] | None]]:
    boxes, scores, classes = (a.tolist() for a in (instances.pred_boxes, instances.scores, instances.pred_classes))
    for i in range(len(instances)):
        mask = None if instances.pred_masks is None else encode_mask(instances.pred_masks[i])
        yield boxes[i], scores[i], classes[i], mask


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask [H,W] bool, fit for JSON: {"size": [h, w], "counts": str}."""
    from pycocotools import mask as rle  # late: who wants boxes only need not wait for it

    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(edge) for edge in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
