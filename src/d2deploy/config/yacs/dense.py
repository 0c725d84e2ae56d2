"""Keys of detectors without proposals -> schema."""

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import NORMS, PYRAMIDS, check_groups, levels
from d2deploy.config.yacs.checks import Supported, names, real, whole
from d2deploy.config.yacs.rcnn import ANCHORS, anchors, box_weights

_RETINANET: Supported = {**ANCHORS, "MODEL.RETINANET.NORM": NORMS}


def supported_retinanet(cfg: Node) -> Supported:
    """What RetinaNet's keys may say."""
    return _RETINANET


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
        conv_dims=_conv_dims(cfg),
        norm=cfg.MODEL.RETINANET.NORM,
        bbox_reg_weights=box_weights(cfg, "MODEL.RETINANET.BBOX_REG_WEIGHTS"),
        topk_candidates=whole(cfg, "MODEL.RETINANET.TOPK_CANDIDATES_TEST"),
        anchors=anchors(cfg, in_features),
    )


def _conv_dims(cfg: Node) -> tuple[int, ...]:
    """The towers are as wide as the levels: a pyramid's width is known here, a plain backbone's when it is built."""
    width = -1
    if cfg.MODEL.BACKBONE.NAME in PYRAMIDS:
        width = whole(cfg, "MODEL.FPN.OUT_CHANNELS")
        check_groups(cfg, "MODEL.RETINANET.NORM", "MODEL.FPN.OUT_CHANNELS", width)
    return (width,) * whole(cfg, "MODEL.RETINANET.NUM_CONVS")
