"""From a network's outputs to what it says about the original image: once, in numpy, outside every graph."""

from d2deploy.postprocess.boxes import rescale_boxes
from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.postprocess.instances import to_instances
from d2deploy.postprocess.keypoints import find_keypoints
from d2deploy.postprocess.kinds import FINISHED, KINDS, Kind, find_kind, to_result
from d2deploy.postprocess.masks import paste_masks
from d2deploy.postprocess.padded import to_ragged
from d2deploy.postprocess.panoptic import merge
from d2deploy.postprocess.sem_seg import to_semantic

__all__ = [
    "FINISHED",
    "KINDS",
    "Frame",
    "Kind",
    "Outputs",
    "find_keypoints",
    "find_kind",
    "merge",
    "paste_masks",
    "rescale_boxes",
    "to_instances",
    "to_ragged",
    "to_result",
    "to_semantic",
]
