"""Whole networks."""

from dataclasses import dataclass

from d2deploy.config.schema.backbone import FPN, ResNet
from d2deploy.config.schema.dense import FCOS, RetinaNet, TensorMask
from d2deploy.config.schema.hrnet import HRFPN
from d2deploy.config.schema.input import Input
from d2deploy.config.schema.mvit import MViT
from d2deploy.config.schema.point_rend import PointRendSemSegHead
from d2deploy.config.schema.proposals import RPN, PrecomputedProposals
from d2deploy.config.schema.registered import (
    Registered,
    RegisteredArchitecture,
    RegisteredProposals,
    RegisteredSemSegHead,
)
from d2deploy.config.schema.regnet import RegNet
from d2deploy.config.schema.roi import Detections, RegisteredROIHeads, Res5ROIHeads, ROIHeads
from d2deploy.config.schema.segmentation import (
    DeepLabV3Head,
    DeepLabV3PlusHead,
    InsEmbedHead,
    PanopticCombine,
    SemSegFPNHead,
)
from d2deploy.config.schema.swin import SwinTransformer
from d2deploy.config.schema.vit import SimpleFeaturePyramid, ViT


@dataclass(frozen=True, kw_only=True)
class GeneralizedRCNN:
    """Proposals, then RoI heads."""

    proposals: RPN | PrecomputedProposals | RegisteredProposals
    roi_heads: ROIHeads | Res5ROIHeads | RegisteredROIHeads


@dataclass(frozen=True, kw_only=True)
class ProposalNetwork:
    """Proposals alone."""

    proposals: RPN | RegisteredProposals


@dataclass(frozen=True, kw_only=True)
class SemanticSegmentor:
    """A class for every pixel."""

    head: "SemSegHead"


@dataclass(frozen=True, kw_only=True)
class PanopticFPN:
    """A detector with masks and a class for every pixel, combined."""

    detector: GeneralizedRCNN
    sem_seg: "SemSegHead"
    combine: PanopticCombine


@dataclass(frozen=True, kw_only=True)
class PanopticDeepLab:
    """MODEL.PANOPTIC_DEEPLAB.*: a class for every pixel, and things as pixels that point to one centre."""

    sem_seg: DeepLabV3PlusHead
    ins_embed: InsEmbedHead
    size_divisibility: int  # the input is padded to multiples of it; 0: as the backbone says
    thing_ids: tuple[int, ...]  # classes of sem_seg that are things
    stuff_area: int  # pixels of the original image: a smaller region of stuff is left out
    center_threshold: float
    nms_kernel: int  # pixels a side of the window in which a centre must be the highest
    top_k: int  # centres
    predict_instances: bool


Backbone = ResNet | RegNet | FPN | HRFPN | SimpleFeaturePyramid | ViT | SwinTransformer | MViT | Registered
SemSegHead = SemSegFPNHead | PointRendSemSegHead | DeepLabV3Head | DeepLabV3PlusHead | RegisteredSemSegHead
Architecture = (
    GeneralizedRCNN
    | ProposalNetwork
    | RetinaNet
    | FCOS
    | TensorMask
    | SemanticSegmentor
    | PanopticFPN
    | PanopticDeepLab
    | RegisteredArchitecture
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a config file says of a network. `weights` and `dataset`: "" when the file names none."""

    input: Input
    backbone: Backbone | None  # None: a network of the user's own, which has its own
    architecture: Architecture
    weights: str
    dataset: str  # DATASETS.TEST[0]: where the class names come from

    @property
    def meta_architecture(self) -> str:
        """detectron2's name of it, or the user's."""
        if isinstance(self.architecture, RegisteredArchitecture):
            return self.architecture.part.name
        return type(self.architecture).__name__

    @property
    def detections(self) -> Detections | None:
        """Classes, thresholds and cap of the detector in it; None where there is none."""
        match self.architecture:
            case GeneralizedRCNN(roi_heads=heads) | PanopticFPN(detector=GeneralizedRCNN(roi_heads=heads)):
                return heads.detections
            case RetinaNet() | FCOS() | TensorMask():
                return self.architecture.detections
        return None
