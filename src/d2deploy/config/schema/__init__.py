"""What a network is built from: typed, frozen, inference only. Nothing past this room knows a config file.

Field names follow detectron2's keys in lower case; sizes are pixels of the network's input image.
"""

from d2deploy.config.schema.backbone import FPN, ResNet
from d2deploy.config.schema.dense import FCOS, RetinaNet, TensorMask, TensorMaskWindows
from d2deploy.config.schema.dense_pose import (
    ChartPredictor,
    DensePoseDecoder,
    DensePoseHead,
    EmbeddingPredictor,
    Mesh,
)
from d2deploy.config.schema.hrnet import HRFPN, HRNet, HRStage
from d2deploy.config.schema.input import Input
from d2deploy.config.schema.model import (
    Architecture,
    Backbone,
    GeneralizedRCNN,
    ModelConfig,
    PanopticDeepLab,
    PanopticFPN,
    ProposalNetwork,
    SemanticSegmentor,
)
from d2deploy.config.schema.mvit import MViT
from d2deploy.config.schema.point_rend import (
    ConvFCHead,
    ImplicitPointHead,
    ImplicitPointRendMaskHead,
    PointRendMaskHead,
    PointRendSemSegHead,
    StandardPointHead,
    Subdivision,
)
from d2deploy.config.schema.pooler import Pooler
from d2deploy.config.schema.proposals import RPN, Anchors, PrecomputedProposals
from d2deploy.config.schema.registered import (
    Registered,
    RegisteredArchitecture,
    RegisteredProposals,
    RegisteredSemSegHead,
)
from d2deploy.config.schema.regnet import RegNet
from d2deploy.config.schema.roi import (
    BoxHead,
    Detections,
    KeypointHead,
    MaskHead,
    RegisteredMaskHead,
    RegisteredROIHeads,
    Res5ROIHeads,
    ROIHeads,
)
from d2deploy.config.schema.segmentation import (
    ASPP,
    DeepLabDecoder,
    DeepLabV3Head,
    DeepLabV3PlusHead,
    InsEmbedHead,
    PanopticCombine,
    SemSegFPNHead,
)
from d2deploy.config.schema.swin import SwinTransformer
from d2deploy.config.schema.vit import SimpleFeaturePyramid, ViT

__all__ = [
    "ASPP",
    "FCOS",
    "FPN",
    "HRFPN",
    "RPN",
    "Anchors",
    "Architecture",
    "Backbone",
    "BoxHead",
    "ChartPredictor",
    "ConvFCHead",
    "DeepLabDecoder",
    "DeepLabV3Head",
    "DeepLabV3PlusHead",
    "DensePoseDecoder",
    "DensePoseHead",
    "Detections",
    "EmbeddingPredictor",
    "GeneralizedRCNN",
    "HRNet",
    "HRStage",
    "ImplicitPointHead",
    "ImplicitPointRendMaskHead",
    "Input",
    "InsEmbedHead",
    "KeypointHead",
    "MViT",
    "MaskHead",
    "Mesh",
    "ModelConfig",
    "PanopticCombine",
    "PanopticDeepLab",
    "PanopticFPN",
    "PointRendMaskHead",
    "PointRendSemSegHead",
    "Pooler",
    "PrecomputedProposals",
    "ProposalNetwork",
    "ROIHeads",
    "RegNet",
    "Registered",
    "RegisteredArchitecture",
    "RegisteredMaskHead",
    "RegisteredProposals",
    "RegisteredROIHeads",
    "RegisteredSemSegHead",
    "Res5ROIHeads",
    "ResNet",
    "RetinaNet",
    "SemSegFPNHead",
    "SemanticSegmentor",
    "SimpleFeaturePyramid",
    "StandardPointHead",
    "Subdivision",
    "SwinTransformer",
    "TensorMask",
    "TensorMaskWindows",
    "ViT",
]
