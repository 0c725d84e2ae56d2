from pathlib import Path

import pytest

from d2deploy.config import schema
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError

MASK_RCNN = Path(__file__).with_name("mask_rcnn.yaml")
POINT_REND = (
    *("MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead", "MODEL.ROI_MASK_HEAD.POOLER_TYPE", ""),
    *("MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", "True"),
)
IMPLICIT = (
    *("MODEL.ROI_MASK_HEAD.NAME", "ImplicitPointRendMaskHead", "MODEL.ROI_MASK_HEAD.POOLER_TYPE", ""),
    *("MODEL.POINT_HEAD.NAME", "ImplicitPointHead", "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "3"),
)
SEMANTIC = (
    *("MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.SEM_SEG_HEAD.NAME", "PointRendSemSegHead"),
    *("MODEL.POINT_HEAD.NUM_CLASSES", "54", "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "2"),
)


def build(*overrides):
    return model_config(read_config(MASK_RCNN, overrides)).architecture


def mask(*overrides):
    return build(*overrides).roi_heads.mask


def test_a_name_alone_brings_the_defaults_of_the_project():
    assert mask(*POINT_REND) == schema.PointRendMaskHead(
        coarse=schema.ConvFCHead(in_features=("p2",), resolution=14, conv_dim=256, fc_dims=(1024, 1024)),
        coarse_side=7,
        point=schema.StandardPointHead(
            in_features=("p2",), fc_dims=(256, 256, 256), coarse_pred_each_layer=True, cls_agnostic_mask=False
        ),
        subdivision=schema.Subdivision(start=28, steps=3, num_points=784),
    )


def test_implicit():
    head = mask(*IMPLICIT)
    assert head.point == schema.ImplicitPointHead(
        in_features=("p2",),
        fc_dims=(256, 256, 256),
        image_feature_enabled=True,
        pos_enc_enabled=True,
        cls_agnostic_mask=False,
    )
    assert head.side == 224 and head.subdivision.start == 28


def test_semantic():
    head = build(*SEMANTIC).head
    assert (head.steps, head.num_points, head.num_classes, head.coarse.common_stride) == (2, 784, 54, 4)


# side, steps, points -> where subdivision starts and in how many steps
STARTS = [(7, 5, 784, 28, 3), (7, 5, 783, 14, 4), (7, 5, 195, 7, 5), (7, 1, 196, 14, 0), (28, 0, 784, 28, 0)]


@pytest.mark.parametrize(("side", "steps", "points", "start", "left"), STARTS)
def test_steps_that_would_choose_every_cell_are_left_out(side, steps, points, start, left):
    head = mask(
        *POINT_REND,
        *("MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION", side, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", steps),
        *("MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", points),
    )
    assert (head.subdivision.start, head.subdivision.steps, head.side) == (start, left, side * 2**steps)


@pytest.mark.parametrize(
    "name", ["MaskRCNNConvUpsamplePointSupHead", "ImplicitPointRendPointSupHead", "ImplicitPointRendMaskHead"]
)
def test_heads_that_are_only_trained_otherwise(name):
    parent = {"MaskRCNNConvUpsamplePointSupHead": ("MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead")}
    overrides = parent.get(name, IMPLICIT)
    assert mask(*overrides, "MODEL.ROI_MASK_HEAD.NAME", name, "INPUT.POINT_SUP", "True") == mask(*overrides)


def test_old_names_of_the_heads():
    old = ("MODEL.ROI_HEADS.NAME", "PointRendROIHeads", "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", "True")
    # Old configs leave POOLER_TYPE as it was.
    assert mask(*old, "MODEL.ROI_MASK_HEAD.NAME", "CoarseMaskHead") == mask(*POINT_REND)
    assert mask(*POINT_REND, *old) == mask(*POINT_REND)
    with pytest.raises(ConfigError, match=r"MODEL\.ROI_MASK_HEAD\.NAME is 'MaskRCNNConvUpsampleHead'"):
        build(*old)


@pytest.mark.parametrize("name", ["PointRendMaskHead", "ImplicitPointRendMaskHead", "CoarseMaskHead"])
def test_c4_has_none(name):
    with pytest.raises(ConfigError, match=r"MODEL\.ROI_MASK_HEAD\.NAME is .* can be: 'MaskRCNN"):
        build("MODEL.ROI_HEADS.NAME", "Res5ROIHeads", "MODEL.ROI_MASK_HEAD.NAME", name)


# overrides over a family -> what the error says
REFUSED = [
    (POINT_REND, "MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIAlignV2", "can be: ''"),
    (POINT_REND, "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", "False", "can be: True"),
    (POINT_REND, "MODEL.POINT_HEAD.NAME", "ImplicitPointHead", "can be: 'StandardPointHead'"),
    (POINT_REND, "MODEL.POINT_HEAD.NUM_CLASSES", "8", r"must be MODEL\.ROI_HEADS\.NUM_CLASSES, which is 80"),
    (POINT_REND, "MODEL.POINT_HEAD.IN_FEATURES", "['p6']", "must be one or more of p2, p3, p4, p5"),
    (POINT_REND, "MODEL.POINT_HEAD.IN_FEATURES", "['p2', 'p2']", "none twice"),
    (POINT_REND, "MODEL.POINT_HEAD.NUM_FC", "-1", "a whole number"),
    (POINT_REND, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "1", "must be 1 more"),
    (POINT_REND, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "40", "doubles a mask of 28 cells"),
    (POINT_REND, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", "0", "at least 1"),
    (POINT_REND, "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER", "None", "true or false"),
    (POINT_REND, "MODEL.ROI_MASK_HEAD.NUM_FC", "0", "at least 1"),
    (POINT_REND, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "7", "even"),
    (POINT_REND, "MODEL.ROI_MASK_HEAD.IN_FEATURES", "[]", "one or more of"),
    (IMPLICIT, "MODEL.POINT_HEAD.NAME", "StandardPointHead", "can be: 'ImplicitPointHead'"),
    (IMPLICIT, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", "785", "a square number"),
    (IMPLICIT, "MODEL.POINT_HEAD.NUM_FC", "0", "at least 1"),
    (IMPLICIT, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "9", "doubles a mask"),
    (SEMANTIC, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", "1", "2 for 4"),
    (SEMANTIC, "MODEL.POINT_HEAD.NUM_CLASSES", "19", r"MODEL\.SEM_SEG_HEAD\.NUM_CLASSES, which is 54"),
    (SEMANTIC, "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK", "True", "can be: False"),
    (SEMANTIC, "MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME", "DeepLabV3Head", "can be: 'SemSegFPNHead'"),
    (SEMANTIC, "MODEL.SEM_SEG_HEAD.NORM", "bn", "can be"),
]


@pytest.mark.parametrize(("family", "key", "value", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_refused(family, key, value, message):
    with pytest.raises(ConfigError, match=rf"{key} (is|doubles) .*{message}|{message}"):
        build(*family, key, value)


def test_refused_pairs():
    neither = [
        word
        for key in ("IMAGE_FEATURE_ENABLED", "POS_ENC_ENABLED")
        for word in (f"MODEL.IMPLICIT_POINTREND.{key}", "False")
    ]
    with pytest.raises(ConfigError, match="true where IMAGE_FEATURE_ENABLED is false"):
        build(*IMPLICIT, *neither)
    with pytest.raises(ConfigError, match=r"MODEL\.SEM_SEG_HEAD\.NUM_CLASSES .* at least 2"):
        build(*SEMANTIC, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "1", "MODEL.POINT_HEAD.NUM_CLASSES", "1")
