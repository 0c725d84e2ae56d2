"""From a detector's or a proposal network's outputs to boxes on the original image."""

from collections.abc import Sequence

import numpy as np

from d2deploy.artifact import MeshSpec
from d2deploy.postprocess.boxes import rescale_boxes
from d2deploy.postprocess.dense_pose import to_dense_pose
from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.postprocess.keypoints import find_keypoints
from d2deploy.postprocess.masks import paste_masks
from d2deploy.results import Instances, Proposals


def to_instances(
    outputs: Outputs,
    *,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    image_index: int = 0,
    meshes: Sequence[MeshSpec] = (),
) -> Instances:
    """Detections of image `image_index` of a batch, in pixels of the original image.

    `outputs`: boxes [D,4], or [D,5] rotated, scores [D], classes [D], image_index [D] and perhaps mask_probs [D,M,M],
    mask_boxes [D,4] that these lie in, if not in `boxes`, and keypoint_heatmaps [D,K,S,S]; boxes in network-input
    pixels; or what `to_dense_pose` takes. `input_size`: (height, width) of the resized image, before padding;
    `image_size`: of the original. `meshes`: of vertex_embeddings.
    """
    frame = Frame(input_size=input_size, image_size=image_size, index=image_index)
    rows, boxes = _on_image(outputs["boxes"], outputs["image_index"], frame)
    probs, heatmaps = outputs.get("mask_probs"), outputs.get("keypoint_heatmaps")
    mask_boxes = boxes
    if "mask_boxes" in outputs:  # not clipped: that would move the cells
        mask_boxes = outputs["mask_boxes"][rows] * np.array(frame.scale * 2, dtype=np.float32)
    return Instances(
        image_size=image_size,
        pred_boxes=boxes,
        scores=outputs["scores"][rows].astype(np.float32, copy=False),
        pred_classes=outputs["classes"][rows].astype(np.int64, copy=False),
        pred_masks=None if probs is None else paste_masks(probs[rows], mask_boxes, image_size),
        pred_keypoints=None
        if heatmaps is None
        else find_keypoints(heatmaps[rows], outputs["boxes"][rows]) * np.array((*frame.scale, 1), dtype=np.float32),
        pred_densepose=to_dense_pose(outputs, rows, boxes, meshes),
    )


def to_proposals(outputs: Outputs, frame: Frame) -> Proposals:
    """Proposals of one image. `outputs`: proposal_boxes [D,4 or 5] network-input pixels, objectness_logits [D],
    image_index [D]."""
    rows, boxes = _on_image(outputs["proposal_boxes"], outputs["image_index"], frame)
    logits = outputs["objectness_logits"][rows].astype(np.float32, copy=False)
    return Proposals(image_size=frame.image_size, proposal_boxes=boxes, objectness_logits=logits)


def _on_image(boxes: np.ndarray, image_index: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """The rows that belong to the image and have an area on it, and their boxes in its pixels."""
    rows = np.flatnonzero(image_index == frame.index)
    rescaled, kept = rescale_boxes(boxes[rows], frame)
    return rows[kept], rescaled[kept]
