"""From detectron2's keys to the dataclasses of schema.py.

This file, backbone.py and heads.py are the only ones that know key names and what can be built from them. What cannot
is an error: a key that changes the network is never passed over. Facts: detectron2 at 02b5c4e2, modeling/.
"""

from collections.abc import Collection
from typing import Any

from d2deploy.config import schema
from d2deploy.config.backbone import NORMS, TOP_LEVELS, backbone
from d2deploy.config.checks import flag, reals, refused, text, unsupported, whole
from d2deploy.config.heads import retinanet, roi_heads, rpn
from d2deploy.config.node import Node
from d2deploy.errors import ConfigError

_POOLERS = ("ROIAlign", "ROIAlignV2")
_PYRAMIDS = tuple(name for name, top in TOP_LEVELS.items() if top)

# Key -> values that can be built so far.
Supported = dict[str, Collection[Any]]
_META: Supported = {"MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "RetinaNet")}
_ALL: Supported = {
    "INPUT.FORMAT": ("BGR", "RGB"),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": NORMS,
    "MODEL.FPN.NORM": NORMS,
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
}
_RCNN: Supported = {
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.BACKBONE.NAME": tuple(TOP_LEVELS),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads"),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": _POOLERS,
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": (False,),
}
_BOX_HEAD: Supported = {
    "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
    "MODEL.ROI_BOX_HEAD.NORM": NORMS,
}
_PYRAMID: Supported = {
    # detectron2's FPN refuses any other: strides must double
    "MODEL.RESNETS.RES5_DILATION": (1,),
}
_NO_PYRAMID: Supported = {"MODEL.RESNETS.RES5_DILATION": (1, 2)}
_RES5: Supported = {"MODEL.KEYPOINT_ON": (False,), "MODEL.BACKBONE.NAME": ("build_resnet_backbone",)}
_MASK: Supported = {
    "MODEL.ROI_MASK_HEAD.NAME": ("MaskRCNNConvUpsampleHead",),
    "MODEL.ROI_MASK_HEAD.NORM": NORMS,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": _POOLERS,
}
_KEYPOINT: Supported = {
    "MODEL.ROI_KEYPOINT_HEAD.NAME": ("KRCNNConvDeconvUpsampleHead",),
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": _POOLERS,
}
_RETINANET: Supported = {"MODEL.BACKBONE.NAME": _PYRAMIDS, "MODEL.RETINANET.NORM": ("",)}


def model_config(cfg: Node) -> schema.ModelConfig:
    """What to build. Raises ConfigError: a part that is not supported yet (all such at once), or a value out of range.

    TEST.AUG is passed over: detectron2's own predictor does not use it either. So are DEVICE, SEED and the like, which
    say where to compute, not what.
    """
    _check_supported(cfg)
    is_rcnn = cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    return schema.ModelConfig(
        meta_architecture=cfg.MODEL.META_ARCHITECTURE,
        input=_input(cfg),
        backbone=backbone(cfg),
        rpn=rpn(cfg) if is_rcnn else None,
        roi_heads=roi_heads(cfg) if is_rcnn else None,
        retinanet=None if is_rcnn else retinanet(cfg),
        weights=text(cfg, "MODEL.WEIGHTS"),
        dataset=_dataset(cfg),
    )


def _check_supported(cfg: Node) -> None:
    # Another meta-architecture reads other keys: the rest would only be noise.
    if missing := unsupported(cfg, _META) or unsupported(cfg, _wanted(cfg)):
        raise ConfigError("The config asks for what is not supported yet:\n" + "\n".join(missing))


def _wanted(cfg: Node) -> Supported:
    """What the keys that this network reads may say."""
    pyramid = _PYRAMID if cfg.MODEL.BACKBONE.NAME in _PYRAMIDS else _NO_PYRAMID
    if cfg.MODEL.META_ARCHITECTURE == "RetinaNet":
        return {**_ALL, **pyramid, **_RETINANET}
    return {
        **_ALL,
        **pyramid,
        **_RCNN,
        **(_RES5 if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeads" else _BOX_HEAD),
        **(_MASK if flag(cfg, "MODEL.MASK_ON") else {}),
        **(_KEYPOINT if flag(cfg, "MODEL.KEYPOINT_ON") else {}),
    }


def _input(cfg: Node) -> schema.Input:
    return schema.Input(
        min_size=whole(cfg, "INPUT.MIN_SIZE_TEST", least=0),
        max_size=whole(cfg, "INPUT.MAX_SIZE_TEST"),
        channel_order=cfg.INPUT.FORMAT,
        pixel_mean=reals(cfg, "MODEL.PIXEL_MEAN", count=3),
        pixel_std=reals(cfg, "MODEL.PIXEL_STD", count=3, positive=True),
    )


def _dataset(cfg: Node) -> str:
    test = cfg.DATASETS.TEST
    if test is None or any(not isinstance(name, str) for name in test):
        raise refused(cfg, "DATASETS.TEST", "a list of dataset names")
    return test[0] if test else ""
