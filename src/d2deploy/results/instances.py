"""Results that are lists of boxes."""

from dataclasses import dataclass

import numpy as np

from d2deploy.results.dense_pose import DensePose


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """One image's detections in pixels of the original image, best first. Field names as in detectron2."""

    image_size: tuple[int, int]  # (height, width) of the original image
    pred_boxes: np.ndarray  # [N,4] float32 x1 y1 x2 y2; of rotated models [N,5]: center x, y, width, height, degrees
    scores: np.ndarray  # [N] float32
    pred_classes: np.ndarray  # [N] int64, contiguous ids
    pred_masks: np.ndarray | None = None  # [N,H,W] bool
    pred_keypoints: np.ndarray | None = None  # [N,K,3] float32 x, y, score; not clipped to the image
    pred_densepose: tuple[DensePose, ...] | None = None  # N of them

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray | slice) -> "Instances":
        """The detections that `rows` (bool or int64 array, or a slice) selects."""
        dense_pose = self.pred_densepose
        return Instances(
            image_size=self.image_size,
            pred_boxes=self.pred_boxes[rows],
            scores=self.scores[rows],
            pred_classes=self.pred_classes[rows],
            pred_masks=None if self.pred_masks is None else self.pred_masks[rows],
            pred_keypoints=None if self.pred_keypoints is None else self.pred_keypoints[rows],
            pred_densepose=None
            if dense_pose is None
            else tuple(dense_pose[i] for i in np.arange(len(self))[rows].tolist()),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """Where in one image objects may be, best first, in pixels of the original image. Names as in detectron2."""

    image_size: tuple[int, int]  # (height, width) of the original image
    proposal_boxes: np.ndarray  # [N,4] float32 x1 y1 x2 y2; of rotated models [N,5], see Instances
    objectness_logits: np.ndarray  # [N] float32, before a sigmoid

    def __len__(self) -> int:
        return len(self.objectness_logits)
