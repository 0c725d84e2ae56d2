"""FCOS as a LazyConfig: every field, and what is refused."""

import pytest

from d2deploy.config import schema
from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.read import read_carried
from d2deploy.errors import ConfigError

NAME = "COCO-Detection/fcos_R_50_FPN_1x.py"


def fcos(*changes):
    return lazy_model_config(read_carried(NAME, [f"model.{change}" for change in changes])).architecture


def test_every_field():
    config = lazy_model_config(read_carried(NAME))
    assert config.architecture == schema.FCOS(
        in_features=("p3", "p4", "p5", "p6", "p7"),
        detections=schema.Detections(num_classes=80, score_thresh=0.2, nms_thresh=0.6, detections_per_image=100),
        conv_dims=(256,) * 4,
        norm="GN",
        normalize_by_size=True,
        topk_candidates=1000,
    )
    assert (config.backbone.top_block, config.backbone.top_in_feature) == ("p6p7", "p5")
    assert config.meta_architecture == "FCOS" and config.detections.num_classes == 80


LINEAR = "_target_: detectron2.modeling.box_regression.Box2BoxTransformLinear"
EFFECTS = {
    "test_topk_candidates=20": ("topk_candidates", 20),
    "head.conv_dims=[64, 32]": ("conv_dims", (64, 32)),
    "head.norm=BN": ("norm", "BN"),
    "head_in_features=null": ("in_features", ("p3", "p4", "p5", "p6", "p7")),
    f"box2box_transform={{{LINEAR}}}": ("normalize_by_size", True),
    f"box2box_transform={{{LINEAR}, normalize_by_size: false}}": ("normalize_by_size", False),
    "center_sampling_radius=9": ("normalize_by_size", True),  # training only
}


@pytest.mark.parametrize(("change", "expected"), EFFECTS.items(), ids=EFFECTS)
def test_effects(change, expected):
    name, value = expected
    assert getattr(fcos(change), name) == value


REFUSED = {
    "head.num_anchors=1": "does not know: num_anchors",
    "head.conv_dims=[]": "one number or more",
    "head.conv_dims=[40]": "multiple of 32",
    "head.num_classes=3": "gives 80",
    "num_classes=0": "at least 1",
    "test_topk_candidates=0": "at least 1",
    "test_nms_thresh=-1": "at least 0",
    "box2box_transform={_target_: detectron2.modeling.box_regression.Box2BoxTransform, weights: [1, 1, 1, 1]}": (
        "d2deploy can build Box2BoxTransformLinear there"
    ),
    "head_in_features=[p9]": "p3, p4, p5, p6, p7",
}


@pytest.mark.parametrize(("change", "message"), REFUSED.items(), ids=REFUSED)
def test_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        fcos(change)
