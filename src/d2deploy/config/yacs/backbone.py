"""Backbone keys -> schema.Backbone, and which feature levels it gives."""

import dataclasses

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.checks import Supported, at, flag, names, refused, whole, wholes
from d2deploy.config.yacs.hrnet import BACKBONE as HRFPN_NAME
from d2deploy.config.yacs.hrnet import SUPPORTED as _HRFPN
from d2deploy.config.yacs.hrnet import hrfpn, hrfpn_levels
from d2deploy.config.yacs.trident import BACKBONE as TRIDENT_NAME
from d2deploy.config.yacs.trident import branch_dilation
from d2deploy.errors import ConfigError
from d2deploy.registry import BACKBONE_REGISTRY

NORMS = ("", "FrozenBN", "BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N", "GN", "LN")
# Name -> levels that stand above the last stage's: none without a pyramid.
TOP_LEVELS = {
    "build_resnet_backbone": None,
    "build_resnet_deeplab_backbone": None,
    TRIDENT_NAME: None,
    "build_resnet_fpn_backbone": "maxpool",
    "build_retinanet_resnet_fpn_backbone": "p6p7",
    "build_fcos_resnet_fpn_backbone": "p6p7",
}
# What p6 is made of; both need res5 below.
_P6_SOURCE = {"build_retinanet_resnet_fpn_backbone": "res5", "build_fcos_resnet_fpn_backbone": "p5"}
PYRAMIDS = tuple(name for name, top in TOP_LEVELS.items() if top)
_GROUPS = 32  # of GN
_STAGES = ("res2", "res3", "res4", "res5")


_RESNET: Supported = {
    "MODEL.BACKBONE.NAME": (*TOP_LEVELS, HRFPN_NAME),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": NORMS,
    "MODEL.RESNETS.RES5_DILATION": (1, 2),
}
_DEEPLAB_NAME = "build_resnet_deeplab_backbone"
_DEEPLAB: Supported = {
    "MODEL.RESNETS.DEPTH": (50, 101, 152),
    "MODEL.RESNETS.STEM_TYPE": ("basic", "deeplab"),
    "MODEL.RESNETS.RES4_DILATION": (1, 2),
    "MODEL.RESNETS.RES5_DILATION": (1, 2, 4),
}
_TRIDENT: Supported = {
    "MODEL.RESNETS.DEPTH": (50, 101, 152),
    "MODEL.TRIDENT.TRIDENT_STAGE": _STAGES,
}
_PYRAMID: Supported = {
    "MODEL.FPN.NORM": NORMS,
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    # detectron2's FPN refuses any other: strides must double
    "MODEL.RESNETS.RES5_DILATION": (1,),
}


def supported_backbone(cfg: Node) -> Supported:
    """What the keys of the backbone may say."""
    if cfg.MODEL.BACKBONE.NAME in BACKBONE_REGISTRY:
        return {}
    if cfg.MODEL.BACKBONE.NAME == HRFPN_NAME:
        return _HRFPN
    return {
        **_RESNET,
        **(_PYRAMID if cfg.MODEL.BACKBONE.NAME in PYRAMIDS else {}),
        **{_DEEPLAB_NAME: _DEEPLAB, TRIDENT_NAME: _TRIDENT}.get(cfg.MODEL.BACKBONE.NAME, {}),
    }


def backbone(cfg: Node) -> schema.Backbone:
    """MODEL.BACKBONE, MODEL.RESNETS, MODEL.FPN."""
    if cfg.MODEL.BACKBONE.NAME in BACKBONE_REGISTRY:
        return schema.Registered(name=cfg.MODEL.BACKBONE.NAME, cfg=cfg)
    if cfg.MODEL.BACKBONE.NAME == HRFPN_NAME:
        return hrfpn(cfg)
    if cfg.MODEL.BACKBONE.NAME == _DEEPLAB_NAME:
        return _deeplab_resnet(cfg)
    if cfg.MODEL.BACKBONE.NAME == TRIDENT_NAME:
        return _trident_resnet(cfg)
    top_block = TOP_LEVELS[cfg.MODEL.BACKBONE.NAME]
    return _fpn(cfg, top_block) if top_block else resnet(cfg)


def resnet(cfg: Node) -> schema.ResNet:
    """MODEL.RESNETS, wherever its stages stand."""
    stages = schema.ResNet(
        depth=whole(cfg, "MODEL.RESNETS.DEPTH"),
        norm=cfg.MODEL.RESNETS.NORM,
        num_groups=whole(cfg, "MODEL.RESNETS.NUM_GROUPS"),
        width_per_group=whole(cfg, "MODEL.RESNETS.WIDTH_PER_GROUP"),
        stride_in_1x1=flag(cfg, "MODEL.RESNETS.STRIDE_IN_1X1"),
        stem_out_channels=whole(cfg, "MODEL.RESNETS.STEM_OUT_CHANNELS"),
        res2_out_channels=whole(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS"),
        res5_dilation=whole(cfg, "MODEL.RESNETS.RES5_DILATION"),
        out_features=names(cfg, "MODEL.RESNETS.OUT_FEATURES", allowed=("stem", *_STAGES)),
        deform_on_per_stage=_deform(cfg),
        deform_modulated=flag(cfg, "MODEL.RESNETS.DEFORM_MODULATED"),
        deform_num_groups=whole(cfg, "MODEL.RESNETS.DEFORM_NUM_GROUPS"),
        freeze_at=whole(cfg, "MODEL.BACKBONE.FREEZE_AT", least=-1),
    )
    if stages.depth < 50:
        _check_basic_blocks(cfg)
    check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.STEM_OUT_CHANNELS", stages.stem_out_channels)
    check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.RES2_OUT_CHANNELS", stages.res2_out_channels)
    width = stages.num_groups * stages.width_per_group
    check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.NUM_GROUPS * WIDTH_PER_GROUP", width)
    return stages


def _deeplab_resnet(cfg: Node) -> schema.ResNet:
    """MODEL.RESNETS with the keys that only build_resnet_deeplab_backbone reads (projects/DeepLab/resnet.py)."""
    plain, multi_grid = resnet(cfg), wholes(cfg, "MODEL.RESNETS.RES5_MULTI_GRID")
    names(cfg, "MODEL.RESNETS.OUT_FEATURES", allowed=_STAGES)
    if len(multi_grid) != 3:
        raise refused(cfg, "MODEL.RESNETS.RES5_MULTI_GRID", "three whole numbers, one for each block of res5")
    if cfg.MODEL.RESNETS.RES4_DILATION == 2 and plain.res5_dilation != 4:
        raise refused(cfg, "MODEL.RESNETS.RES5_DILATION", "4 where RES4_DILATION is 2")
    if cfg.MODEL.RESNETS.STEM_TYPE == "deeplab":
        half = plain.stem_out_channels // 2
        check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.STEM_OUT_CHANNELS / 2", half)
    return dataclasses.replace(
        plain,
        stem_type=cfg.MODEL.RESNETS.STEM_TYPE,
        res4_dilation=cfg.MODEL.RESNETS.RES4_DILATION,
        res5_multi_grid=multi_grid,
    )


def _trident_resnet(cfg: Node) -> schema.ResNet:
    """MODEL.RESNETS, one stage of it as MODEL.TRIDENT says; the res5 of RoI heads is a plain one."""
    plain, stage = resnet(cfg), cfg.MODEL.TRIDENT.TRIDENT_STAGE
    names(cfg, "MODEL.RESNETS.OUT_FEATURES", allowed=_STAGES)
    if plain.deform_on_per_stage[_STAGES.index(stage)]:
        raise refused(cfg, "MODEL.RESNETS.DEFORM_ON_PER_STAGE", f"false for {stage}, which is TRIDENT_STAGE")
    return dataclasses.replace(plain, trident_stage=stage, trident_dilation=branch_dilation(cfg))


def _deform(cfg: Node) -> tuple[bool, ...]:
    stages = cfg.MODEL.RESNETS.DEFORM_ON_PER_STAGE
    if stages is None or len(stages) != len(_STAGES) or not all(isinstance(stage, bool) for stage in stages):
        raise refused(cfg, "MODEL.RESNETS.DEFORM_ON_PER_STAGE", "true or false for each of res2 to res5")
    return tuple(stages)


def _check_basic_blocks(cfg: Node) -> None:
    for key, value in (
        ("MODEL.RESNETS.RES2_OUT_CHANNELS", 64),
        ("MODEL.RESNETS.NUM_GROUPS", 1),
        ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [False] * 4),
    ):
        if at(cfg, key) != value:
            raise refused(cfg, key, f"{value} in a ResNet of DEPTH 18 or 34")


def _fpn(cfg: Node, top_block: str) -> schema.FPN:
    pyramid = schema.FPN(
        bottom_up=resnet(cfg),
        in_features=names(cfg, "MODEL.FPN.IN_FEATURES", allowed=cfg.MODEL.RESNETS.OUT_FEATURES),
        out_channels=whole(cfg, "MODEL.FPN.OUT_CHANNELS"),
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
        top_block=top_block,
        top_in_feature=_P6_SOURCE.get(cfg.MODEL.BACKBONE.NAME, ""),
    )
    if top_block == "p6p7" and pyramid.in_features[-1] != "res5":
        raise refused(cfg, "MODEL.FPN.IN_FEATURES", f"stages up to res5 in {cfg.MODEL.BACKBONE.NAME}")
    if not are_neighbours(pyramid.in_features, _STAGES):
        raise refused(cfg, "MODEL.FPN.IN_FEATURES", f"neighbours among {', '.join(_STAGES)}, in this order")
    check_groups(cfg, "MODEL.FPN.NORM", "MODEL.FPN.OUT_CHANNELS", pyramid.out_channels)
    return pyramid


def levels(cfg: Node) -> tuple[str, ...] | None:
    """Names of the backbone's feature levels: its stages or, with a pyramid, one a stage and one or two above.

    None for a user's own backbone: only the built one knows.
    """
    if cfg.MODEL.BACKBONE.NAME in BACKBONE_REGISTRY:
        return None
    if cfg.MODEL.BACKBONE.NAME == HRFPN_NAME:
        return hrfpn_levels(cfg)
    top_block = TOP_LEVELS[cfg.MODEL.BACKBONE.NAME]
    if not top_block:
        return tuple(cfg.MODEL.RESNETS.OUT_FEATURES)
    stages = [int(name.removeprefix("res")) for name in cfg.MODEL.FPN.IN_FEATURES]
    above = range(stages[-1] + 1, stages[-1] + (2 if top_block == "maxpool" else 3))
    return tuple(f"p{stage}" for stage in (*stages, *above))


def are_neighbours(chosen: tuple[str, ...], order: tuple[str, ...] | None) -> bool:
    """Whether `chosen` is a stretch of `order`; true where that is unknown."""
    if order is None:
        return True
    if chosen[0] not in order:
        return False
    start = order.index(chosen[0])
    return order[start : start + len(chosen)] == chosen


def check_groups(cfg: Node, norm_key: str, key: str, channels: int) -> None:
    """Raises ConfigError when group norm does not divide `channels`."""
    if at(cfg, norm_key) == "GN" and channels % _GROUPS:
        raise ConfigError(f"{key} is {channels}; {norm_key} GN needs a multiple of {_GROUPS}.")
