"""TorchScript as detectron2's own exporter gives it, so that C++ code written for that loads our file instead.

Facts: detectron2 tools/deploy/export_model.py and torchscript_mask_rcnn.cpp, export/flatten.py (02b5c4e2). Traced: an
image in, a tuple out, detectron2's fields in the order of the alphabet, then the image's size. Scripted: a tuple of one
dict, or a list of several, with "image" in; a list of dicts of tensors out, as detectron2's script gives its Instances
(which C++ could not read). Neither resizes, nor goes back to an original size: "height" and "width" are not looked at.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.backends.capture import Exportable, sample_inputs, swapped
from d2deploy.errors import ExportError
from d2deploy.ops import LEAVES
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.image_canvas import ImageCanvas
from d2deploy.ops.rescale_boxes import rescale_boxes

FIELDS = {
    "boxes": "pred_boxes",
    "classes": "pred_classes",
    "keypoint_heatmaps": "pred_keypoint_heatmaps",
    "mask_probs": "pred_masks",
    "scores": "scores",
}
"""The core's output -> detectron2's field."""
