"""To write parts of a network with: the names of detectron2.modeling and detectron2.layers that parts use.

    from d2deploy.modeling import BACKBONE_REGISTRY, Backbone, ShapeSpec

docs/own_parts.md shows a backbone that moves over. Load such a module by `--import my_module`.
"""

from d2deploy.config.extensions import CfgNode
from d2deploy.models.registered import (
    Backbone,
    BaseKeypointRCNNHead,
    BaseMaskRCNNHead,
    Conv2d,
    MetaArchitecture,
    ShapeSpec,
    configurable,
    get_norm,
)
from d2deploy.registry import (
    BACKBONE_REGISTRY,
    CONFIG_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_KEYPOINT_HEAD_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
)

__all__ = [
    "BACKBONE_REGISTRY",
    "CONFIG_REGISTRY",
    "META_ARCH_REGISTRY",
    "PROPOSAL_GENERATOR_REGISTRY",
    "ROI_BOX_HEAD_REGISTRY",
    "ROI_HEADS_REGISTRY",
    "ROI_KEYPOINT_HEAD_REGISTRY",
    "ROI_MASK_HEAD_REGISTRY",
    "SEM_SEG_HEADS_REGISTRY",
    "Backbone",
    "BaseKeypointRCNNHead",
    "BaseMaskRCNNHead",
    "CfgNode",
    "Conv2d",
    "MetaArchitecture",
    "ShapeSpec",
    "configurable",
    "get_norm",
]
