"""Whole networks."""

from dataclasses import dataclass

from d2deploy.config.schema.backbone import FPN, ResNet
from d2deploy.config.schema.dense import RetinaNet
from d2deploy.config.schema.input import Input
from d2deploy.config.schema.proposals import RPN, PrecomputedProposals
from d2deploy.config.schema.roi import Detections, Res5ROIHeads, ROIHeads
from d2deploy.config.schema.segmentation import PanopticCombine, SemSegFPNHead


@dataclass(frozen=True, kw_only=True)
class GeneralizedRCNN:
    """Proposals, then RoI heads."""

    proposals: RPN | PrecomputedProposals
    roi_heads: ROIHeads | Res5ROIHeads


@dataclass(frozen=True, kw_only=True)
class ProposalNetwork:
    """Proposals alone."""

    proposals: RPN


@dataclass(frozen=True, kw_only=True)
class SemanticSegmentor:
    """A class for every pixel."""

    head: SemSegFPNHead


@dataclass(frozen=True, kw_only=True)
class PanopticFPN:
    """A detector with masks and a class for every pixel, combined."""

    detector: GeneralizedRCNN
    sem_seg: SemSegFPNHead
    combine: PanopticCombine


Backbone = ResNet | FPN
Architecture = GeneralizedRCNN | ProposalNetwork | RetinaNet | SemanticSegmentor | PanopticFPN


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a config file says of a network. `weights` and `dataset`: "" when the file names none."""

    input: Input
    backbone: Backbone
    architecture: Architecture
    weights: str
    dataset: str  # DATASETS.TEST[0]: where the class names come from

    @property
    def meta_architecture(self) -> str:
        """detectron2's name of it."""
        return type(self.architecture).__name__

    @property
    def detections(self) -> Detections | None:
        """Classes, thresholds and cap of the detector in it; None where there is none."""
        match self.architecture:
            case GeneralizedRCNN(roi_heads=heads) | PanopticFPN(detector=GeneralizedRCNN(roi_heads=heads)):
                return heads.detections
            case RetinaNet(detections=detections):
                return detections
        return None
