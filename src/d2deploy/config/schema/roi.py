"""RoI heads: what looks at each proposal."""

from dataclasses import dataclass

from d2deploy.config.schema.backbone import ResNet
from d2deploy.config.schema.dense_pose import DensePoseHead
from d2deploy.config.schema.point_rend import ImplicitPointRendMaskHead, PointRendMaskHead
from d2deploy.config.schema.pooler import Pooler
from d2deploy.config.schema.registered import Registered


@dataclass(frozen=True, kw_only=True)
class BoxHead:
    """MODEL.ROI_BOX_HEAD.*"""

    pooler: Pooler
    conv_dims: tuple[int, ...]
    fc_dims: tuple[int, ...]
    norm: str
    bbox_reg_weights: tuple[float, ...]  # 4; 5 for rotated boxes
    cls_agnostic_bbox_reg: bool
    use_sigmoid_ce: bool  # scores by a sigmoid of each class instead of a softmax over all
    use_fed_loss: bool  # the checkpoint has the class weights of a federated loss (LVIS)
    part: Registered | None = None  # a user's own layers in the place of conv_dims and fc_dims


@dataclass(frozen=True, kw_only=True)
class MaskHead:
    """MODEL.ROI_MASK_HEAD.*"""

    pooler: Pooler
    conv_dims: tuple[int, ...]  # the last is that of the upsampling convolution
    norm: str
    cls_agnostic_mask: bool

    @property
    def side(self) -> int:
        """Cells a side of a mask: twice what is pooled."""
        return self.pooler.resolution * 2


@dataclass(frozen=True, kw_only=True)
class RegisteredMaskHead:
    """A user's own mask head."""

    pooler: Pooler
    part: Registered
    side: str = "M"  # cells a side of a mask: only the head itself knows


@dataclass(frozen=True, kw_only=True)
class KeypointHead:
    """MODEL.ROI_KEYPOINT_HEAD.*"""

    pooler: Pooler
    conv_dims: tuple[int, ...]
    num_keypoints: int
    oks_sigmas: tuple[float, ...]  # TEST.KEYPOINT_OKS_SIGMAS: one a keypoint, or none for COCO's
    part: Registered | None = None  # a user's own layers in the place of conv_dims


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What every detector has in the end."""

    num_classes: int  # without background
    score_thresh: float
    nms_thresh: float
    detections_per_image: int


@dataclass(frozen=True, kw_only=True)
class ROIHeads:
    """MODEL.ROI_HEADS.* with its heads: StandardROIHeads, CascadeROIHeads and DensePoseROIHeads."""

    in_features: tuple[str, ...]
    detections: Detections
    box: BoxHead
    cascade: tuple[tuple[float, float, float, float], ...]  # box weights of each stage; empty: a single stage
    mask: MaskHead | PointRendMaskHead | ImplicitPointRendMaskHead | RegisteredMaskHead | None
    keypoint: KeypointHead | None
    dense_pose: DensePoseHead | None = None


@dataclass(frozen=True, kw_only=True)
class Res5ROIHeads:
    """MODEL.ROI_HEADS.* where the backbone's last stage is the box head (C4 models)."""

    in_features: tuple[str, ...]
    detections: Detections
    pooler: Pooler
    resnet: ResNet
    bbox_reg_weights: tuple[float, float, float, float]
    cls_agnostic_bbox_reg: bool
    use_sigmoid_ce: bool
    use_fed_loss: bool
    mask: MaskHead | None


@dataclass(frozen=True, kw_only=True)
class RegisteredROIHeads:
    """A user's own RoI heads."""

    part: Registered
    detections: Detections
    has_masks: bool
    num_keypoints: int  # 0: no keypoints
    oks_sigmas: tuple[float, ...]
