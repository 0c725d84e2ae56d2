"""What a network is built from: typed, frozen, inference only. Nothing past this file knows a config file.

Field names follow detectron2's keys in lower case; sizes are pixels of the network's input image.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Input:
    """How an image becomes the network's input (INPUT.*, MODEL.PIXEL_*)."""

    min_size: int  # shorter edge after resizing; 0: no resizing
    max_size: int  # cap on the longer edge
    channel_order: str  # "BGR" or "RGB"
    pixel_mean: tuple[float, ...]  # in channel_order, 0..255
    pixel_std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """MODEL.RESNETS.*"""

    depth: int
    norm: str
    num_groups: int
    width_per_group: int
    stride_in_1x1: bool
    stem_out_channels: int
    res2_out_channels: int
    res5_dilation: int
    out_features: tuple[str, ...]
    deform_on_per_stage: tuple[bool, ...]  # res2..res5
    deform_modulated: bool  # version 2
    deform_num_groups: int
    freeze_at: int  # stages below it are built with FrozenBN, whatever `norm` says


@dataclass(frozen=True, kw_only=True)
class FPN:
    """MODEL.FPN.*"""

    in_features: tuple[str, ...]
    out_channels: int
    norm: str
    fuse_type: str  # "sum" or "avg"
    top_block: str  # "maxpool": one level more; "p6p7": two more, by convolutions on res5 (RetinaNet)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A ResNet, with a feature pyramid on it or without."""

    resnet: ResNet
    fpn: FPN | None


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """MODEL.ANCHOR_GENERATOR.*: one entry a feature level."""

    sizes: tuple[tuple[float, ...], ...]
    aspect_ratios: tuple[tuple[float, ...], ...]
    offset: float


@dataclass(frozen=True, kw_only=True)
class RPN:
    """MODEL.RPN.* and MODEL.PROPOSAL_GENERATOR.*"""

    in_features: tuple[str, ...]
    conv_dims: tuple[int, ...]
    bbox_reg_weights: tuple[float, float, float, float]
    pre_nms_topk: int  # per feature level
    post_nms_topk: int  # per image
    nms_thresh: float
    min_box_size: float
    anchors: Anchors


@dataclass(frozen=True, kw_only=True)
class Pooler:
    """POOLER_*: how the pixels under a box become a fixed-size feature."""

    type: str  # "ROIAlign", "ROIAlignV2" (half-pixel aligned)
    resolution: int
    sampling_ratio: int  # samples per bin side; 0: as many as cells


@dataclass(frozen=True, kw_only=True)
class BoxHead:
    """MODEL.ROI_BOX_HEAD.*"""

    pooler: Pooler
    num_conv: int
    conv_dim: int
    num_fc: int
    fc_dim: int
    norm: str
    bbox_reg_weights: tuple[float, float, float, float]
    cls_agnostic_bbox_reg: bool


@dataclass(frozen=True, kw_only=True)
class MaskHead:
    """MODEL.ROI_MASK_HEAD.*"""

    pooler: Pooler
    num_conv: int
    conv_dim: int
    norm: str
    cls_agnostic_mask: bool


@dataclass(frozen=True, kw_only=True)
class KeypointHead:
    """MODEL.ROI_KEYPOINT_HEAD.*"""

    pooler: Pooler
    conv_dims: tuple[int, ...]
    num_keypoints: int
    oks_sigmas: tuple[float, ...]  # TEST.KEYPOINT_OKS_SIGMAS: one a keypoint, or none for COCO's


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What every detector has in the end."""

    num_classes: int  # without background
    score_thresh: float
    nms_thresh: float
    detections_per_image: int


@dataclass(frozen=True, kw_only=True)
class ROIHeads:
    """MODEL.ROI_HEADS.* with its heads: StandardROIHeads and CascadeROIHeads."""

    in_features: tuple[str, ...]
    detections: Detections
    box: BoxHead
    cascade: tuple[tuple[float, float, float, float], ...]  # box weights of each stage; empty: a single stage
    mask: MaskHead | None
    keypoint: KeypointHead | None


@dataclass(frozen=True, kw_only=True)
class Res5ROIHeads:
    """MODEL.ROI_HEADS.* where the backbone's last stage is the box head (C4 models)."""

    in_features: tuple[str, ...]
    detections: Detections
    pooler: Pooler
    resnet: ResNet
    bbox_reg_weights: tuple[float, float, float, float]
    cls_agnostic_bbox_reg: bool
    mask: MaskHead | None


@dataclass(frozen=True, kw_only=True)
class RetinaNet:
    """MODEL.RETINANET.*"""

    in_features: tuple[str, ...]
    detections: Detections
    num_convs: int
    bbox_reg_weights: tuple[float, float, float, float]
    topk_candidates: int  # per feature level
    anchors: Anchors


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole detector: RPN with RoI heads, or a RetinaNet. `weights` and `dataset`: "" when the file names none."""

    meta_architecture: str
    input: Input
    backbone: Backbone
    rpn: RPN | None
    roi_heads: ROIHeads | Res5ROIHeads | None
    retinanet: RetinaNet | None
    weights: str
    dataset: str  # DATASETS.TEST[0]: where the class names come from

    @property
    def detections(self) -> Detections:
        """Classes, thresholds and cap of the detector, whichever it is."""
        head = self.roi_heads or self.retinanet
        assert head is not None
        return head.detections
