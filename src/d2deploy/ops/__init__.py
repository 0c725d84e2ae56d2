"""The operations that a target expresses in its own way: one file each, meaning and kernel in plain ATen.

A kernel with sizes or steps that follow the data is a leaf module of the network, so that a capture can swap it in a
copy: for its scripted form (tracing), or for one opaque node (ONNX and later formats).
"""

from d2deploy.ops.anchor_grid import AnchorGrid
from d2deploy.ops.crop import Crop
from d2deploy.ops.deform_sample import DeformSample
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.found import Found
from d2deploy.ops.image_index import ImageIndex
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.least_size import PadToLeast
from d2deploy.ops.mask_windows import Enlarge, MaskWindows
from d2deploy.ops.merge_panoptic import MergePanoptic
from d2deploy.ops.nms import NMS
from d2deploy.ops.paste_masks import PasteMasks
from d2deploy.ops.point_sample import PointSample
from d2deploy.ops.position import AbsolutePosition, RelativeBias, WindowBias
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.ops.regular_points import RegularPoints
from d2deploy.ops.resize_image import ResizeImage
from d2deploy.ops.resize_maps import ResizeMaps
from d2deploy.ops.roi_align import RoIAlign
from d2deploy.ops.roi_align_rotated import RoIAlignRotated
from d2deploy.ops.roi_pool import RoIPool
from d2deploy.ops.score_threshold import ScoreThreshold
from d2deploy.ops.window_mean import WindowMean
from d2deploy.ops.windows import PadToWindows, Quarter, ShiftedWindowMask, WindowMerge, WindowPartition

LEAVES = (
    AbsolutePosition,
    AnchorGrid,
    Crop,
    DeformSample,
    Enlarge,
    FindKeypoints,
    Found,
    ImageIndex,
    LabelledNMS,
    MaskWindows,
    MergePanoptic,
    NMS,
    PadToLeast,
    PadToWindows,
    PasteMasks,
    PointSample,
    PrepareImages,
    Quarter,
    RegularPoints,
    RelativeBias,
    ResizeImage,
    ResizeMaps,
    RoIAlign,
    RoIAlignRotated,
    RoIPool,
    ScoreThreshold,
    ShiftedWindowMask,
    WindowBias,
    WindowMean,
    WindowMerge,
    WindowPartition,
)
