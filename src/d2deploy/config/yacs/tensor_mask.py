"""Keys of detectron2's project TensorMask -> schema. Facts: projects/TensorMask, config.py and arch.py."""

import dataclasses

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import PYRAMIDS, levels
from d2deploy.config.yacs.checks import Supported, flag, names, real, refused, whole
from d2deploy.config.yacs.rcnn import ANCHORS, anchors, box_weights

_KEY = "MODEL.TENSOR_MASK"
_SIZES = "MODEL.ANCHOR_GENERATOR.SIZES"


def supported_tensor_mask(cfg: Node) -> Supported:
    """What TensorMask's keys may say. A level's name must tell its stride, which windows are measured in."""
    return {**ANCHORS, "MODEL.BACKBONE.NAME": PYRAMIDS}


def tensor_mask(cfg: Node) -> schema.TensorMask:
    """MODEL.TENSOR_MASK and its anchors."""
    in_features = names(cfg, f"{_KEY}.IN_FEATURES", allowed=levels(cfg))
    # Its generator of anchors passes over OFFSET.
    made = dataclasses.replace(anchors(cfg, in_features), offset=0.0)
    return schema.TensorMask(
        in_features=in_features,
        detections=schema.Detections(
            num_classes=whole(cfg, f"{_KEY}.NUM_CLASSES"),
            score_thresh=real(cfg, f"{_KEY}.SCORE_THRESH_TEST"),
            nms_thresh=real(cfg, f"{_KEY}.NMS_THRESH_TEST", least=0),
            detections_per_image=whole(cfg, "TEST.DETECTIONS_PER_IMAGE"),
        ),
        cls_dims=_dims(cfg, "CLS_CHANNELS"),
        bbox_dims=_dims(cfg, "BBOX_CHANNELS"),
        bbox_reg_weights=box_weights(cfg, f"{_KEY}.BBOX_REG_WEIGHTS"),
        topk_candidates=whole(cfg, f"{_KEY}.TOPK_CANDIDATES_TEST"),
        anchors=made,
        windows=_windows(cfg, made, in_features) if flag(cfg, "MODEL.MASK_ON") else None,
    )


def _dims(cfg: Node, width: str) -> tuple[int, ...]:
    return (whole(cfg, f"{_KEY}.{width}"),) * whole(cfg, f"{_KEY}.NUM_CONVS")


def _windows(cfg: Node, made: schema.Anchors, in_features: tuple[str, ...]) -> schema.TensorMaskWindows:
    """Windows are as large as the first level's anchors, in whole cells of it."""
    is_aligned, is_bipyramid = flag(cfg, f"{_KEY}.ALIGNED_ON"), flag(cfg, f"{_KEY}.BIPYRAMID_ON")
    if is_bipyramid and not is_aligned:
        raise refused(cfg, f"{_KEY}.BIPYRAMID_ON", "false where ALIGNED_ON is: detectron2 cannot run the two together")
    if any(len(ratios) > 1 for ratios in made.aspect_ratios):
        raise refused(cfg, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "one ratio: each anchor size has its own masks")
    numbers = [int(name.removeprefix("p")) for name in in_features]
    if is_bipyramid and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise refused(cfg, f"{_KEY}.IN_FEATURES", "levels that follow each other, from fine to coarse (BIPYRAMID_ON)")
    stride = 2 ** numbers[0]
    sizes = tuple(int(size // stride) for size in made.sizes[0])
    if not all(sizes):
        raise refused(cfg, _SIZES, f"at least {stride} on the first level: a cell of {in_features[0]}")
    return schema.TensorMaskWindows(
        conv_dims=_dims(cfg, "MASK_CHANNELS"), sizes=sizes, is_aligned=is_aligned, is_bipyramid=is_bipyramid
    )
