"""Results from outputs that lie on the original images already: of a graph that holds the post-processing itself.

Maps and masks are as large as the largest image of the batch; each image has its own part of them, at the top left.
"""

import numpy as np

from d2deploy.artifact import ModelSpec
from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.results import Instances, PanopticResult, Proposals, Segment, SemanticResult


def finished_instances(outputs: Outputs, spec: ModelSpec, frame: Frame) -> Instances:
    """Detections of one image: boxes, scores, classes, image_index [D], perhaps masks [D,H,W], keypoints [D,K,3]."""
    rows = np.flatnonzero(outputs["image_index"] == frame.index)
    height, width = frame.image_size
    masks, keypoints = outputs.get("masks"), outputs.get("keypoints")
    return Instances(
        image_size=frame.image_size,
        pred_boxes=outputs["boxes"][rows],
        scores=outputs["scores"][rows],
        pred_classes=outputs["classes"][rows],
        pred_masks=None if masks is None else masks[rows, :height, :width],
        pred_keypoints=None if keypoints is None else keypoints[rows],
    )


def finished_proposals(outputs: Outputs, spec: ModelSpec, frame: Frame) -> Proposals:
    """Proposals of one image: proposal_boxes, objectness_logits, image_index [D]."""
    rows = np.flatnonzero(outputs["image_index"] == frame.index)
    return Proposals(
        image_size=frame.image_size,
        proposal_boxes=outputs["proposal_boxes"][rows],
        objectness_logits=outputs["objectness_logits"][rows],
    )


def finished_semantic(outputs: Outputs, spec: ModelSpec, frame: Frame) -> SemanticResult:
    """Classes of one image's pixels: sem_seg [N,C,H,W], labels [N,H,W]."""
    height, width = frame.image_size
    return SemanticResult(
        image_size=frame.image_size,
        logits=outputs["sem_seg"][frame.index, :, :height, :width],
        known_labels=outputs["labels"][frame.index, :height, :width],
    )


def finished_panoptic(outputs: Outputs, spec: ModelSpec, frame: Frame) -> PanopticResult:
    """One image's picture: what the two above need, panoptic_seg [N,H,W], segments [S,6] as ops/merge_panoptic.py."""
    height, width = frame.image_size
    first_row = int(np.count_nonzero(outputs["image_index"] < frame.index))
    table = outputs["segments"][outputs["segments"][:, 0] == frame.index].tolist()
    return PanopticResult(
        image_size=frame.image_size,
        panoptic_seg=outputs["panoptic_seg"][frame.index, :height, :width],
        segments=tuple(_segment(row, outputs["scores"], first_row) for row in table),
        sem_seg=finished_semantic(outputs, spec, frame),
        instances=finished_instances(outputs, spec, frame),
    )


def _segment(numbers: list[int], scores: np.ndarray, first_row: int) -> Segment:
    _, id, is_thing, category, row, pixels = numbers
    if not is_thing:
        return Segment(id=id, is_thing=False, category_id=category, area=pixels)
    return Segment(id=id, is_thing=True, category_id=category, score=float(scores[row]), instance_id=row - first_row)
