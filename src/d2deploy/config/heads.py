"""RPN, RoI-head and RetinaNet keys -> their dataclasses of schema.py."""

from d2deploy.config import schema
from d2deploy.config.backbone import are_neighbours, check_groups, levels, resnet
from d2deploy.config.checks import at, flag, names, per_level, real, reals, refused, whole
from d2deploy.config.node import Node
from d2deploy.errors import ConfigError


def rpn(cfg: Node) -> schema.RPN:
    """MODEL.RPN, MODEL.PROPOSAL_GENERATOR, MODEL.ANCHOR_GENERATOR."""
    in_features = names(cfg, "MODEL.RPN.IN_FEATURES", allowed=levels(cfg))
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


def roi_heads(cfg: Node) -> schema.ROIHeads | schema.Res5ROIHeads:
    """MODEL.ROI_HEADS and the heads on it."""
    if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeads":
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
    )


def _res5_roi_heads(cfg: Node) -> schema.Res5ROIHeads:
    return schema.Res5ROIHeads(
        in_features=_in_features(cfg),
        detections=_detections(cfg),
        pooler=_pooler(cfg, "MODEL.ROI_BOX_HEAD"),
        resnet=resnet(cfg),
        bbox_reg_weights=_box_weights(cfg, "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
        cls_agnostic_bbox_reg=flag(cfg, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
        mask=_mask_head(cfg) if cfg.MODEL.MASK_ON else None,
    )


def _in_features(cfg: Node) -> tuple[str, ...]:
    every = levels(cfg)
    in_features = names(cfg, "MODEL.ROI_HEADS.IN_FEATURES", allowed=every)
    if not are_neighbours(in_features, every):
        raise refused(cfg, "MODEL.ROI_HEADS.IN_FEATURES", f"neighbours among {', '.join(every)}, in this order")
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
    count, sigmas = whole(cfg, "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS"), cfg.TEST.KEYPOINT_OKS_SIGMAS
    if sigmas and (len(sigmas) != count or not all(isinstance(s, int | float) and s > 0 for s in sigmas)):
        raise refused(cfg, "TEST.KEYPOINT_OKS_SIGMAS", f"{count} numbers above 0, or an empty list")
    return schema.KeypointHead(
        pooler=_pooler(cfg, "MODEL.ROI_KEYPOINT_HEAD"),
        conv_dims=tuple(dims),
        num_keypoints=count,
        oks_sigmas=tuple(map(float, sigmas)),
    )


def retinanet(cfg: Node) -> schema.RetinaNet:
    """MODEL.RETINANET and its anchors."""
    in_features = names(cfg, "MODEL.RETINANET.IN_FEATURES", allowed=levels(cfg))
    return schema.RetinaNet(
        in_features=in_features,
        detections=schema.Detections(
            num_classes=whole(cfg, "MODEL.RETINANET.NUM_CLASSES"),
            score_thresh=real(cfg, "MODEL.RETINANET.SCORE_THRESH_TEST"),
            nms_thresh=real(cfg, "MODEL.RETINANET.NMS_THRESH_TEST", least=0),
            detections_per_image=whole(cfg, "TEST.DETECTIONS_PER_IMAGE"),
        ),
        num_convs=whole(cfg, "MODEL.RETINANET.NUM_CONVS", least=0),
        bbox_reg_weights=_box_weights(cfg, "MODEL.RETINANET.BBOX_REG_WEIGHTS"),
        topk_candidates=whole(cfg, "MODEL.RETINANET.TOPK_CANDIDATES_TEST"),
        anchors=_anchors(cfg, in_features),
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
        check_groups(cfg, "MODEL.ROI_BOX_HEAD.NORM", "MODEL.ROI_BOX_HEAD.CONV_DIM", head.conv_dim)
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
        check_groups(cfg, "MODEL.ROI_MASK_HEAD.NORM", "MODEL.ROI_MASK_HEAD.CONV_DIM", head.conv_dim)
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
