"""From detectron2's keys to the dataclasses of schema.py.

The one place that knows key names and what can be built from them. What cannot is an error: a key that changes the
network is never passed over. Facts: detectron2 at 02b5c4e2, modeling/.
"""

from collections.abc import Collection
from typing import Any

from d2deploy.config import schema
from d2deploy.config.checks import at, flag, names, per_level, real, reals, refused, text, unsupported, whole
from d2deploy.config.node import Node
from d2deploy.errors import ConfigError

_NORMS = ("", "FrozenBN", "BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "GN")
_GROUPS = 32  # of GN
_POOLERS = ("ROIAlign", "ROIAlignV2")
_STAGES = ("res2", "res3", "res4", "res5")
_NO_DEFORM = [False] * 4

# Key -> values that can be built so far.
_META = {"MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",)}
_RCNN: dict[str, Collection[Any]] = {
    "INPUT.FORMAT": ("BGR", "RGB"),
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.KEYPOINT_ON": (False,),
    "MODEL.BACKBONE.NAME": ("build_resnet_fpn_backbone",),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": _NORMS,
    "MODEL.RESNETS.RES5_DILATION": (1,),  # detectron2's FPN refuses any other: strides must double
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": (_NO_DEFORM,),
    "MODEL.FPN.NORM": _NORMS,
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
    "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
    "MODEL.ROI_BOX_HEAD.NORM": _NORMS,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": _POOLERS,
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": (False,),
}
_MASK: dict[str, Collection[Any]] = {
    "MODEL.ROI_MASK_HEAD.NAME": ("MaskRCNNConvUpsampleHead",),
    "MODEL.ROI_MASK_HEAD.NORM": _NORMS,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": _POOLERS,
}


def model_config(cfg: Node) -> schema.ModelConfig:
    """What to build. Raises ConfigError: a part that is not supported yet (all such at once), or a value out of range.

    TEST.AUG is passed over: detectron2's own predictor does not use it either. So are DEVICE, SEED and the like, which
    say where to compute, not what.
    """
    _check_supported(cfg)
    return schema.ModelConfig(
        meta_architecture=cfg.MODEL.META_ARCHITECTURE,
        input=_input(cfg),
        backbone=_backbone(cfg),
        rpn=_rpn(cfg),
        roi_heads=_roi_heads(cfg),
        weights=text(cfg, "MODEL.WEIGHTS"),
        dataset=_dataset(cfg),
    )


def _check_supported(cfg: Node) -> None:
    # Another meta-architecture reads other keys: the rest would only be noise.
    rest = {**_RCNN, **(_MASK if flag(cfg, "MODEL.MASK_ON") else {})}
    if missing := unsupported(cfg, _META) or unsupported(cfg, rest):
        raise ConfigError("The config asks for what is not supported yet:\n" + "\n".join(missing))


def _input(cfg: Node) -> schema.Input:
    return schema.Input(
        min_size=whole(cfg, "INPUT.MIN_SIZE_TEST", least=0),
        max_size=whole(cfg, "INPUT.MAX_SIZE_TEST"),
        channel_order=cfg.INPUT.FORMAT,
        pixel_mean=reals(cfg, "MODEL.PIXEL_MEAN", count=3),
        pixel_std=reals(cfg, "MODEL.PIXEL_STD", count=3, positive=True),
    )


def _backbone(cfg: Node) -> schema.Backbone:
    return schema.Backbone(resnet=_resnet(cfg), fpn=_fpn(cfg))


def _resnet(cfg: Node) -> schema.ResNet:
    resnet = schema.ResNet(
        depth=whole(cfg, "MODEL.RESNETS.DEPTH"),
        norm=cfg.MODEL.RESNETS.NORM,
        num_groups=whole(cfg, "MODEL.RESNETS.NUM_GROUPS"),
        width_per_group=whole(cfg, "MODEL.RESNETS.WIDTH_PER_GROUP"),
        stride_in_1x1=flag(cfg, "MODEL.RESNETS.STRIDE_IN_1X1"),
        stem_out_channels=whole(cfg, "MODEL.RESNETS.STEM_OUT_CHANNELS"),
        res2_out_channels=whole(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS"),
        res5_dilation=whole(cfg, "MODEL.RESNETS.RES5_DILATION"),
        out_features=names(cfg, "MODEL.RESNETS.OUT_FEATURES", allowed=("stem", *_STAGES)),
        freeze_at=whole(cfg, "MODEL.BACKBONE.FREEZE_AT", least=-1),
    )
    if resnet.depth < 50:
        _check_basic_blocks(cfg)
    _check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.STEM_OUT_CHANNELS", resnet.stem_out_channels)
    _check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.RES2_OUT_CHANNELS", resnet.res2_out_channels)
    width = resnet.num_groups * resnet.width_per_group
    _check_groups(cfg, "MODEL.RESNETS.NORM", "MODEL.RESNETS.NUM_GROUPS * WIDTH_PER_GROUP", width)
    return resnet


def _check_basic_blocks(cfg: Node) -> None:
    for key, value in (("MODEL.RESNETS.RES2_OUT_CHANNELS", 64), ("MODEL.RESNETS.NUM_GROUPS", 1)):
        if at(cfg, key) != value:
            raise refused(cfg, key, f"{value} in a ResNet of DEPTH 18 or 34")


def _fpn(cfg: Node) -> schema.FPN:
    fpn = schema.FPN(
        in_features=names(cfg, "MODEL.FPN.IN_FEATURES", allowed=cfg.MODEL.RESNETS.OUT_FEATURES),
        out_channels=whole(cfg, "MODEL.FPN.OUT_CHANNELS"),
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
    if not _are_neighbours(fpn.in_features, _STAGES):
        raise refused(cfg, "MODEL.FPN.IN_FEATURES", f"neighbours among {', '.join(_STAGES)}, in this order")
    _check_groups(cfg, "MODEL.FPN.NORM", "MODEL.FPN.OUT_CHANNELS", fpn.out_channels)
    return fpn


def _levels(cfg: Node) -> tuple[str, ...]:
    """Feature levels of the FPN: one for each stage it takes, and one above (stride-2 max pool of the last)."""
    stages = [int(name.removeprefix("res")) for name in cfg.MODEL.FPN.IN_FEATURES]
    return tuple(f"p{stage}" for stage in (*stages, stages[-1] + 1))


def _rpn(cfg: Node) -> schema.RPN:
    in_features = names(cfg, "MODEL.RPN.IN_FEATURES", allowed=_levels(cfg))
    return schema.RPN(
        in_features=in_features,
        conv_dims=_conv_dims(cfg),
        bbox_reg_weights=_box_weights(cfg, "MODEL.RPN.BBOX_REG_WEIGHTS"),
        pre_nms_topk=whole(cfg, "MODEL.RPN.PRE_NMS_TOPK_TEST"),
        post_nms_topk=whole(cfg, "MODEL.RPN.POST_NMS_TOPK_TEST"),
        nms_thresh=real(cfg, "MODEL.RPN.NMS_THRESH", least=0),
        min_box_size=real(cfg, "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", least=0),
        anchors=_anchors(cfg, in_features),
    )


def _conv_dims(cfg: Node) -> tuple[int, ...]:
    dims = cfg.MODEL.RPN.CONV_DIMS
    if not dims or any(type(dim) is not int or (dim < 1 and dim != -1) for dim in dims):
        raise refused(cfg, "MODEL.RPN.CONV_DIMS", "a list of channel counts, where -1 means as many as come in")
    return tuple(dims)


def _anchors(cfg: Node, levels: tuple[str, ...]) -> schema.Anchors:
    anchors = schema.Anchors(
        sizes=per_level(cfg, "MODEL.ANCHOR_GENERATOR.SIZES", levels=levels),
        aspect_ratios=per_level(cfg, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", levels=levels),
        offset=real(cfg, "MODEL.ANCHOR_GENERATOR.OFFSET", least=0),
    )
    counts = [len(sizes) * len(ratios) for sizes, ratios in zip(anchors.sizes, anchors.aspect_ratios, strict=True)]
    if len(set(counts)) > 1:
        raise ConfigError(
            f"MODEL.ANCHOR_GENERATOR gives {counts} anchors a cell on {', '.join(levels)}. One RPN head serves all "
            f"levels, so SIZES x ASPECT_RATIOS must be as many on each."
        )
    if anchors.offset >= 1:
        raise refused(cfg, "MODEL.ANCHOR_GENERATOR.OFFSET", "at least 0 and below 1")
    return anchors


def _roi_heads(cfg: Node) -> schema.ROIHeads:
    levels = _levels(cfg)
    in_features = names(cfg, "MODEL.ROI_HEADS.IN_FEATURES", allowed=levels)
    if not _are_neighbours(in_features, levels):
        raise refused(cfg, "MODEL.ROI_HEADS.IN_FEATURES", f"neighbours among {', '.join(levels)}, in this order")
    return schema.ROIHeads(
        in_features=in_features,
        num_classes=whole(cfg, "MODEL.ROI_HEADS.NUM_CLASSES"),
        score_thresh=real(cfg, "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        nms_thresh=real(cfg, "MODEL.ROI_HEADS.NMS_THRESH_TEST", least=0),
        detections_per_image=whole(cfg, "TEST.DETECTIONS_PER_IMAGE"),
        box=_box_head(cfg),
        mask=_mask_head(cfg) if cfg.MODEL.MASK_ON else None,
    )


def _box_head(cfg: Node) -> schema.BoxHead:
    head = schema.BoxHead(
        pooler=_pooler(cfg, "MODEL.ROI_BOX_HEAD"),
        num_conv=whole(cfg, "MODEL.ROI_BOX_HEAD.NUM_CONV", least=0),
        conv_dim=whole(cfg, "MODEL.ROI_BOX_HEAD.CONV_DIM"),
        num_fc=whole(cfg, "MODEL.ROI_BOX_HEAD.NUM_FC", least=0),
        fc_dim=whole(cfg, "MODEL.ROI_BOX_HEAD.FC_DIM"),
        norm=cfg.MODEL.ROI_BOX_HEAD.NORM,
        bbox_reg_weights=_box_weights(cfg, "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
        cls_agnostic_bbox_reg=flag(cfg, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
    )
    if head.num_conv + head.num_fc == 0:
        raise refused(cfg, "MODEL.ROI_BOX_HEAD.NUM_FC", "1 or more, where NUM_CONV is 0: the head has no layers")
    if head.num_conv:
        _check_groups(cfg, "MODEL.ROI_BOX_HEAD.NORM", "MODEL.ROI_BOX_HEAD.CONV_DIM", head.conv_dim)
    return head


def _mask_head(cfg: Node) -> schema.MaskHead:
    head = schema.MaskHead(
        pooler=_pooler(cfg, "MODEL.ROI_MASK_HEAD"),
        num_conv=whole(cfg, "MODEL.ROI_MASK_HEAD.NUM_CONV", least=0),
        conv_dim=whole(cfg, "MODEL.ROI_MASK_HEAD.CONV_DIM"),
        norm=cfg.MODEL.ROI_MASK_HEAD.NORM,
        cls_agnostic_mask=flag(cfg, "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK"),
    )
    if head.num_conv:
        _check_groups(cfg, "MODEL.ROI_MASK_HEAD.NORM", "MODEL.ROI_MASK_HEAD.CONV_DIM", head.conv_dim)
    return head


def _pooler(cfg: Node, head: str) -> schema.Pooler:
    return schema.Pooler(
        type=at(cfg, f"{head}.POOLER_TYPE"),
        resolution=whole(cfg, f"{head}.POOLER_RESOLUTION"),
        sampling_ratio=whole(cfg, f"{head}.POOLER_SAMPLING_RATIO", least=0),
    )


def _box_weights(cfg: Node, key: str) -> tuple[float, float, float, float]:
    x, y, width, height = reals(cfg, key, count=4, positive=True)
    return x, y, width, height


def _dataset(cfg: Node) -> str:
    test = cfg.DATASETS.TEST
    if test is None or any(not isinstance(name, str) for name in test):
        raise refused(cfg, "DATASETS.TEST", "a list of dataset names")
    return test[0] if test else ""


def _are_neighbours(chosen: tuple[str, ...], order: tuple[str, ...]) -> bool:
    if chosen[0] not in order:
        return False
    start = order.index(chosen[0])
    return order[start : start + len(chosen)] == chosen


def _check_groups(cfg: Node, norm_key: str, key: str, channels: int) -> None:
    if at(cfg, norm_key) == "GN" and channels % _GROUPS:
        raise ConfigError(f"{key} is {channels}; {norm_key} GN needs a multiple of {_GROUPS}.")
