"""Thresholds given beside a config: the same options for every kind of config and of detector."""

from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.config.node import Node
from d2deploy.config.thresholds import with_thresholds
from d2deploy.errors import ConfigError

GIVEN: dict[str, Any] = {"score_thresh": 0.3, "nms_thresh": 0.6, "max_detections": 7}
DETECTORS = {
    "two stages": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
    "two stages, C4": "COCO-Detection/faster_rcnn_R_50_C4_1x",
    "one stage": "COCO-Detection/retinanet_R_50_FPN_1x",
    "in a panoptic network": "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
    "from a LazyConfig": "COCO-Detection/fcos_R_50_FPN_1x.py",
    "cascade from a LazyConfig": "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py",
    "given proposals": "COCO-Detection/fast_rcnn_R_50_FPN_1x",
}


@pytest.mark.parametrize("name", DETECTORS.values(), ids=DETECTORS)
def test_they_go_over_what_the_config_says(name: str) -> None:
    before, after = read_model_config(name).detections, read_model_config(name, **GIVEN).detections
    assert before is not None
    assert after == schema.Detections(
        num_classes=before.num_classes, score_thresh=0.3, nms_thresh=0.6, detections_per_image=7
    )
    assert after != before


def test_what_is_not_given_stays() -> None:
    name = DETECTORS["one stage"]
    config = read_model_config(name)
    assert read_model_config(name, score_thresh=None) == config
    changed = read_model_config(name, max_detections=5)
    assert (changed.detections.score_thresh, changed.detections.nms_thresh) == (0.05, 0.5)
    assert changed.backbone == config.backbone and changed.input == config.input


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score_thresh": float("nan")}, "score_thresh is nan; it must be a number"),
        ({"nms_thresh": 1.5}, "nms_thresh is 1.5; it must be a number from 0 to 1"),
        ({"nms_thresh": float("nan")}, "nms_thresh is nan"),
        ({"max_detections": 0}, "max_detections is 0; it must be a whole number of at least 1"),
        ({"max_detections": True}, "max_detections is True"),
    ],
)
def test_out_of_range(given: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_model_config(DETECTORS["one stage"], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["ProposalNetwork", "SemanticSegmentor"])
def test_without_detections(architecture: str, tmp_path: Path) -> None:
    name = {"ProposalNetwork": "COCO-Detection/rpn_R_50_FPN_1x"}.get(architecture)
    overrides = () if name else ("MODEL.META_ARCHITECTURE", architecture)
    with pytest.raises(ConfigError, match=f"A {architecture} has no detections.* Leave those options out"):
        read_model_config(name or DETECTORS["in a panoptic network"], overrides, score_thresh=0.5)


def test_own_parts_read_the_config_themselves() -> None:
    config = read_model_config(DETECTORS["two stages"])
    assert config.detections is not None and isinstance(config.architecture, schema.GeneralizedRCNN)
    heads = schema.RegisteredROIHeads(
        part=schema.Registered(name="MyHeads", cfg=Node({})),
        detections=config.detections,
        has_masks=False,
        num_keypoints=0,
        oks_sigmas=(),
    )
    own = schema.GeneralizedRCNN(proposals=config.architecture.proposals, roi_heads=heads)
    changed = schema.ModelConfig(input=config.input, backbone=config.backbone, architecture=own, weights="", dataset="")
    with pytest.raises(ConfigError, match=r"MyHeads is a part of your own.*SCORE_THRESH_TEST"):
        with_thresholds(changed, score_thresh=0.5)
