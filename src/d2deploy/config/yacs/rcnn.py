"""RPN and RoI-head keys -> schema."""

from collections.abc import Callable
from typing import Any, NamedTuple

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import NORMS, are_neighbours, check_groups, levels, resnet
from d2deploy.config.yacs.checks import Supported, flag, names, per_level, real, reals, refused, whole
from d2deploy.config.yacs.dense_pose import ROI_HEADS as DENSE_POSE_ROI_HEADS
from d2deploy.config.yacs.dense_pose import dense_pose_head, has_dense_pose, supported_dense_pose
from d2deploy.config.yacs.own_parts import own, without_own
from d2deploy.config.yacs.point_rend import (
    OLD_MASK_HEAD,
    OLD_ROI_HEADS,
    implicit_point_rend_mask_head,
    point_rend_mask_head,
    supported_implicit,
    supported_point_rend,
)
from d2deploy.config.yacs.pooler import POOLERS, pooler
from d2deploy.config.yacs.trident import BACKBONE as TRIDENT_NAME
from d2deploy.config.yacs.trident import check_one_branch, plain_name
from d2deploy.errors import ConfigError

ANCHORS: Supported = {"MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",)}
_RPN: Supported = {
    **ANCHORS,
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN", "TridentRPN"),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
}
# Its config has keys of the RPN too, which say nothing. MODEL.LOAD_PROPOSALS is about data, not about the network.
_PRECOMPUTED: Supported = {"MODEL.PROPOSAL_GENERATOR.NAME": ("RPN", "TridentRPN", "PrecomputedProposals")}
_RCNN: Supported = {
    **_RPN,
    "MODEL.ROI_HEADS.NAME": (
        "StandardROIHeads",
        "CascadeROIHeads",
        "Res5ROIHeads",
        "TridentRes5ROIHeads",
        "TridentStandardROIHeads",
        OLD_ROI_HEADS,
        DENSE_POSE_ROI_HEADS,
    ),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": POOLERS,
}
_BOX_HEAD: Supported = {
    "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
    "MODEL.ROI_BOX_HEAD.NORM": NORMS,
}
_ROTATED_RPN: Supported = {
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RRPN",),
    "MODEL.ANCHOR_GENERATOR.NAME": ("RotatedAnchorGenerator",),
}
# Rotated boxes are all or nothing; detectron2 has neither masks nor keypoints for them (rotated_fast_rcnn.py).
_ROTATED: Supported = {
    **_ROTATED_RPN,
    "MODEL.ROI_HEADS.NAME": ("RROIHeads",),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignRotated",),
    "MODEL.MASK_ON": (False,),
    "MODEL.KEYPOINT_ON": (False,),
}
_RES5: Supported = {"MODEL.KEYPOINT_ON": (False,), "MODEL.BACKBONE.NAME": ("build_resnet_backbone", TRIDENT_NAME)}
_CONV_MASK: Supported = {
    "MODEL.ROI_MASK_HEAD.NORM": NORMS,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": POOLERS,
}
_KEYPOINT: Supported = {
    "MODEL.ROI_KEYPOINT_HEAD.NAME": ("KRCNNConvDeconvUpsampleHead",),
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": POOLERS,
}


def supported_rcnn(cfg: Node) -> Supported:
    """What the keys of proposals and RoI heads may say."""
    supported = {
        **_RCNN,
        **(_RES5 if plain_name(cfg, "MODEL.ROI_HEADS.NAME") == "Res5ROIHeads" else _BOX_HEAD),
        **(_ROTATED if "RRPN" in _parts(cfg) or "RROIHeads" in _parts(cfg) else {}),
        **(_supported_mask(cfg) if flag(cfg, "MODEL.MASK_ON") else {}),
        **(_KEYPOINT if flag(cfg, "MODEL.KEYPOINT_ON") else {}),
        **(supported_dense_pose(cfg) if has_dense_pose(cfg) else {}),
    }
    return without_own(cfg, supported)


def _supported_mask(cfg: Node) -> Supported:
    name = cfg.MODEL.ROI_MASK_HEAD.NAME
    fitting = {
        "Res5ROIHeads": _CONV_MASK_HEADS,
        OLD_ROI_HEADS: ("PointRendMaskHead", OLD_MASK_HEAD),
    }.get(plain_name(cfg, "MODEL.ROI_HEADS.NAME"), tuple(head for head in _MASK_HEADS if head != OLD_MASK_HEAD))
    rest = _MASK_HEADS[name].supported(cfg) if name in fitting else {}
    return {"MODEL.ROI_MASK_HEAD.NAME": fitting, **rest}


def _parts(cfg: Node) -> tuple[str, str]:
    return cfg.MODEL.PROPOSAL_GENERATOR.NAME, cfg.MODEL.ROI_HEADS.NAME


def supported_generalized_rcnn(cfg: Node) -> Supported:
    """The same where the proposals may also be given."""
    supported = supported_rcnn(cfg)
    if supported.get("MODEL.PROPOSAL_GENERATOR.NAME") != _RPN["MODEL.PROPOSAL_GENERATOR.NAME"]:
        return supported
    if _is_precomputed(cfg):
        supported = {key: allowed for key, allowed in supported.items() if key not in _RPN}
    return {**supported, **_PRECOMPUTED}


def supported_proposal_network(cfg: Node) -> Supported:
    """What the keys of proposals alone may say."""
    rotated = _ROTATED_RPN if cfg.MODEL.PROPOSAL_GENERATOR.NAME == "RRPN" else {}
    return without_own(cfg, {**_RPN, **rotated})


def _is_precomputed(cfg: Node) -> bool:
    return bool(cfg.MODEL.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals")


def proposal_network(cfg: Node) -> schema.ProposalNetwork:
    """Proposals alone."""
    return schema.ProposalNetwork(proposals=_own_proposals(cfg) or rpn(cfg))


def _own_proposals(cfg: Node) -> schema.RegisteredProposals | None:
    part = own(cfg, "MODEL.PROPOSAL_GENERATOR.NAME")
    return schema.RegisteredProposals(part=part) if part else None


def generalized_rcnn(cfg: Node) -> schema.GeneralizedRCNN:
    """Proposals, made or given, and RoI heads."""
    given = _precomputed(cfg) if _is_precomputed(cfg) else _own_proposals(cfg)
    return schema.GeneralizedRCNN(proposals=given or rpn(cfg), roi_heads=roi_heads(cfg))


def _precomputed(cfg: Node) -> schema.PrecomputedProposals:
    return schema.PrecomputedProposals(topk=whole(cfg, "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST"))


def rpn(cfg: Node) -> schema.RPN:
    """MODEL.RPN, MODEL.PROPOSAL_GENERATOR, MODEL.ANCHOR_GENERATOR."""
    check_one_branch(cfg, "MODEL.PROPOSAL_GENERATOR.NAME")
    in_features = names(cfg, "MODEL.RPN.IN_FEATURES", allowed=levels(cfg))
    rotated = cfg.MODEL.PROPOSAL_GENERATOR.NAME == "RRPN"
    return schema.RPN(
        in_features=in_features,
        conv_dims=_conv_dims(cfg),
        bbox_reg_weights=reals(cfg, "MODEL.RPN.BBOX_REG_WEIGHTS", count=5 if rotated else 4, positive=True),
        pre_nms_topk=whole(cfg, "MODEL.RPN.PRE_NMS_TOPK_TEST"),
        post_nms_topk=whole(cfg, "MODEL.RPN.POST_NMS_TOPK_TEST"),
        nms_thresh=real(cfg, "MODEL.RPN.NMS_THRESH", least=0),
        min_box_size=real(cfg, "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", least=0),
        anchors=anchors(cfg, in_features),
    )


def _conv_dims(cfg: Node) -> tuple[int, ...]:
    dims = cfg.MODEL.RPN.CONV_DIMS
    if not dims or any(type(dim) is not int or (dim < 1 and dim != -1) for dim in dims):
        raise refused(cfg, "MODEL.RPN.CONV_DIMS", "a list of channel counts, where -1 means as many as come in")
    return tuple(dims)


def anchors(cfg: Node, levels: tuple[str, ...]) -> schema.Anchors:
    """MODEL.ANCHOR_GENERATOR, for feature levels `levels`."""
    made = schema.Anchors(
        sizes=per_level(cfg, "MODEL.ANCHOR_GENERATOR.SIZES", levels=levels),
        aspect_ratios=per_level(cfg, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", levels=levels),
        angles=_angles(cfg, levels),
        offset=real(cfg, "MODEL.ANCHOR_GENERATOR.OFFSET", least=0),
    )
    turns = made.angles or ((0.0,),) * len(levels)
    counts = [len(s) * len(r) * len(t) for s, r, t in zip(made.sizes, made.aspect_ratios, turns, strict=True)]
    if len(set(counts)) > 1:
        raise ConfigError(
            f"MODEL.ANCHOR_GENERATOR gives {counts} anchors a cell on {', '.join(levels)}. One RPN head serves all "
            f"levels, so SIZES x ASPECT_RATIOS (x ANGLES) must be as many on each."
        )
    if made.offset >= 1:
        raise refused(cfg, "MODEL.ANCHOR_GENERATOR.OFFSET", "at least 0 and below 1")
    return made


def _angles(cfg: Node, levels: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    if cfg.MODEL.ANCHOR_GENERATOR.NAME != "RotatedAnchorGenerator":
        return ()
    return per_level(cfg, "MODEL.ANCHOR_GENERATOR.ANGLES", levels=levels, positive=False)


def roi_heads(cfg: Node) -> schema.ROIHeads | schema.Res5ROIHeads | schema.RegisteredROIHeads:
    """MODEL.ROI_HEADS and the heads on it."""
    if part := own(cfg, "MODEL.ROI_HEADS.NAME"):
        count = whole(cfg, "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS") if flag(cfg, "MODEL.KEYPOINT_ON") else 0
        return schema.RegisteredROIHeads(
            part=part,
            detections=_detections(cfg),
            has_masks=flag(cfg, "MODEL.MASK_ON"),
            num_keypoints=count,
            oks_sigmas=_oks_sigmas(cfg, count) if count else (),
        )
    check_one_branch(cfg, "MODEL.ROI_HEADS.NAME")
    if plain_name(cfg, "MODEL.ROI_HEADS.NAME") == "Res5ROIHeads":
        return _res5_roi_heads(cfg)
    box = _box_head(cfg)
    cascade = _cascade(cfg) if cfg.MODEL.ROI_HEADS.NAME == "CascadeROIHeads" else ()
    if cascade and not box.cls_agnostic_bbox_reg:
        raise refused(cfg, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "true in CascadeROIHeads")
    return schema.ROIHeads(
        in_features=_in_features(cfg),
        detections=_detections(cfg),
        box=box,
        cascade=cascade,
        mask=_mask_head(cfg) if cfg.MODEL.MASK_ON else None,
        keypoint=_keypoint_head(cfg) if cfg.MODEL.KEYPOINT_ON else None,
        dense_pose=dense_pose_head(cfg) if has_dense_pose(cfg) else None,
    )


def _mask_head(cfg: Node) -> Any:
    if part := own(cfg, "MODEL.ROI_MASK_HEAD.NAME"):
        return schema.RegisteredMaskHead(pooler=pooler(cfg, "MODEL.ROI_MASK_HEAD"), part=part)
    return _MASK_HEADS[cfg.MODEL.ROI_MASK_HEAD.NAME].read(cfg)


def _res5_roi_heads(cfg: Node) -> schema.Res5ROIHeads:
    return schema.Res5ROIHeads(
        in_features=_in_features(cfg),
        detections=_detections(cfg),
        pooler=pooler(cfg, "MODEL.ROI_BOX_HEAD"),
        resnet=resnet(cfg),
        bbox_reg_weights=box_weights(cfg, "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
        cls_agnostic_bbox_reg=flag(cfg, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
        use_sigmoid_ce=flag(cfg, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"),
        use_fed_loss=_fed_loss(cfg),
        mask=_conv_upsample_head(cfg) if cfg.MODEL.MASK_ON else None,
    )


def _in_features(cfg: Node) -> tuple[str, ...]:
    every = levels(cfg)
    in_features = names(cfg, "MODEL.ROI_HEADS.IN_FEATURES", allowed=every)
    if not are_neighbours(in_features, every):
        raise refused(cfg, "MODEL.ROI_HEADS.IN_FEATURES", f"neighbours among {', '.join(every or ())}, in this order")
    return in_features


def _detections(cfg: Node) -> schema.Detections:
    return schema.Detections(
        num_classes=whole(cfg, "MODEL.ROI_HEADS.NUM_CLASSES"),
        score_thresh=real(cfg, "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        nms_thresh=real(cfg, "MODEL.ROI_HEADS.NMS_THRESH_TEST", least=0),
        detections_per_image=whole(cfg, "TEST.DETECTIONS_PER_IMAGE"),
    )


def _cascade(cfg: Node) -> tuple[tuple[float, float, float, float], ...]:
    stages = cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS
    if not stages or any(len(stage) != 4 or not all(value > 0 for value in stage) for stage in stages):
        raise refused(cfg, "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", "four numbers above 0 for each stage")
    return tuple((float(x), float(y), float(width), float(height)) for x, y, width, height in stages)


def _keypoint_head(cfg: Node) -> schema.KeypointHead:
    dims = cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS
    if not dims or any(type(dim) is not int or dim < 1 for dim in dims):
        raise refused(cfg, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", "a list of channel counts")
    count = whole(cfg, "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS")
    return schema.KeypointHead(
        pooler=pooler(cfg, "MODEL.ROI_KEYPOINT_HEAD"),
        conv_dims=tuple(dims),
        num_keypoints=count,
        oks_sigmas=_oks_sigmas(cfg, count),
        part=own(cfg, "MODEL.ROI_KEYPOINT_HEAD.NAME"),
    )


def _oks_sigmas(cfg: Node, count: int) -> tuple[float, ...]:
    sigmas = cfg.TEST.KEYPOINT_OKS_SIGMAS
    if sigmas and (len(sigmas) != count or not all(isinstance(s, int | float) and s > 0 for s in sigmas)):
        raise refused(cfg, "TEST.KEYPOINT_OKS_SIGMAS", f"{count} numbers above 0, or an empty list")
    return tuple(map(float, sigmas))


def _box_head(cfg: Node) -> schema.BoxHead:
    rotated = cfg.MODEL.ROI_HEADS.NAME == "RROIHeads"
    head = schema.BoxHead(
        pooler=pooler(cfg, "MODEL.ROI_BOX_HEAD"),
        conv_dims=_layers(cfg, "MODEL.ROI_BOX_HEAD.NUM_CONV", "MODEL.ROI_BOX_HEAD.CONV_DIM"),
        fc_dims=_layers(cfg, "MODEL.ROI_BOX_HEAD.NUM_FC", "MODEL.ROI_BOX_HEAD.FC_DIM"),
        norm=cfg.MODEL.ROI_BOX_HEAD.NORM,
        bbox_reg_weights=reals(cfg, "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", count=5 if rotated else 4, positive=True),
        cls_agnostic_bbox_reg=flag(cfg, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
        use_sigmoid_ce=flag(cfg, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"),
        use_fed_loss=_fed_loss(cfg),
        part=own(cfg, "MODEL.ROI_BOX_HEAD.NAME"),
    )
    if head.part:
        return head
    if not head.conv_dims + head.fc_dims:
        raise refused(cfg, "MODEL.ROI_BOX_HEAD.NUM_FC", "1 or more, where NUM_CONV is 0: the head has no layers")
    if head.conv_dims:
        check_groups(cfg, "MODEL.ROI_BOX_HEAD.NORM", "MODEL.ROI_BOX_HEAD.CONV_DIM", head.conv_dims[0])
    return head


def _fed_loss(cfg: Node) -> bool:
    """MODEL.ROI_BOX_HEAD.USE_FED_LOSS, which detectron2 has with a sigmoid only (fast_rcnn.py)."""
    key = "MODEL.ROI_BOX_HEAD.USE_FED_LOSS"
    if flag(cfg, key) and not flag(cfg, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"):
        raise refused(cfg, key, "false where USE_SIGMOID_CE is false")
    return flag(cfg, key)


def _layers(cfg: Node, count: str, width: str) -> tuple[int, ...]:
    """As many layers as one key says, each as wide as the other says."""
    return (whole(cfg, width),) * whole(cfg, count, least=0)


def _conv_upsample_head(cfg: Node) -> schema.MaskHead:
    convs = _layers(cfg, "MODEL.ROI_MASK_HEAD.NUM_CONV", "MODEL.ROI_MASK_HEAD.CONV_DIM")
    head = schema.MaskHead(
        pooler=pooler(cfg, "MODEL.ROI_MASK_HEAD"),
        conv_dims=(*convs, whole(cfg, "MODEL.ROI_MASK_HEAD.CONV_DIM")),
        norm=cfg.MODEL.ROI_MASK_HEAD.NORM,
        cls_agnostic_mask=flag(cfg, "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK"),
    )
    if convs:
        check_groups(cfg, "MODEL.ROI_MASK_HEAD.NORM", "MODEL.ROI_MASK_HEAD.CONV_DIM", convs[0])
    return head


class _MaskRow(NamedTuple):
    """One mask head."""

    read: Callable[[Node], schema.MaskHead | schema.PointRendMaskHead | schema.ImplicitPointRendMaskHead]
    supported: Callable[[Node], Supported]  # what the keys that it reads may say


def _supported_conv_mask(cfg: Node) -> Supported:
    return _CONV_MASK


_CONV_UPSAMPLE = _MaskRow(_conv_upsample_head, _supported_conv_mask)
_IMPLICIT = _MaskRow(implicit_point_rend_mask_head, supported_implicit)
_POINT_REND = _MaskRow(point_rend_mask_head, supported_point_rend)
# The PointSup heads are trained otherwise, and infer as their parents (projects/PointSup at 02b5c4e2).
_MASK_HEADS = {
    "MaskRCNNConvUpsampleHead": _CONV_UPSAMPLE,
    "MaskRCNNConvUpsamplePointSupHead": _CONV_UPSAMPLE,
    "PointRendMaskHead": _POINT_REND,
    OLD_MASK_HEAD: _POINT_REND,
    "ImplicitPointRendMaskHead": _IMPLICIT,
    "ImplicitPointRendPointSupHead": _IMPLICIT,
}
_CONV_MASK_HEADS = tuple(name for name, row in _MASK_HEADS.items() if row is _CONV_UPSAMPLE)


def box_weights(cfg: Node, key: str) -> tuple[float, float, float, float]:
    """The four weights of box deltas."""
    x, y, width, height = reals(cfg, key, count=4, positive=True)
    return x, y, width, height
