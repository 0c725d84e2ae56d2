"""What a network is built from: typed, frozen, inference only. Nothing past this room knows a config file.

Field names follow detectron2's keys in lower case; sizes are pixels of the network's input image.
"""

from d2deploy.config.schema.backbone import FPN, ResNet
from d2deploy.config.schema.dense import RetinaNet
from d2deploy.config.schema.input import Input
from d2deploy.config.schema.model import (
    Architecture,
    Backbone,
    GeneralizedRCNN,
    ModelConfig,
    PanopticFPN,
    ProposalNetwork,
    SemanticSegmentor,
)
from d2deploy.config.schema.proposals import RPN, Anchors, PrecomputedProposals
from d2deploy.config.schema.roi import BoxHead, Detections, KeypointHead, MaskHead, Pooler, Res5ROIHeads, ROIHeads
from d2deploy.config.schema.segmentation import PanopticCombine, SemSegFPNHead

__all__ = [
    "FPN",
    "RPN",
    "Anchors",
    "Architecture",
    "Backbone",
    "BoxHead",
    "Detections",
    "GeneralizedRCNN",
    "Input",
    "KeypointHead",
    "MaskHead",
    "ModelConfig",
    "PanopticCombine",
    "PanopticFPN",
    "Pooler",
    "PrecomputedProposals",
    "ProposalNetwork",
    "ROIHeads",
    "Res5ROIHeads",
    "ResNet",
    "RetinaNet",
    "SemSegFPNHead",
    "SemanticSegmentor",
]
