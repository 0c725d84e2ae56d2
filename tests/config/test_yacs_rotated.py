"""Configs of rotated detectors: what of them is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden/detectron2/extra/rrpn_R_50_FPN/golden.json"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Function: overrides -> the golden config read with them."""
    file = tmp_path / "config.yaml"
    file.write_text(json.loads(GOLDEN.read_text())["config_text"])
    return lambda *overrides: model_config(read_config(file, overrides))


def test_what_is_read(read: Any) -> None:
    network = read().architecture
    assert network.proposals == schema.RPN(
        in_features=("p2", "p3", "p4", "p5", "p6"),
        conv_dims=(-1,),
        bbox_reg_weights=(1.0,) * 5,
        pre_nms_topk=1000,
        post_nms_topk=300,
        nms_thresh=0.7,
        min_box_size=0.0,
        anchors=schema.Anchors(
            sizes=((32.0,), (64.0,), (128.0,), (256.0,), (512.0,)),
            aspect_ratios=((0.5, 1.0, 2.0),) * 5,
            angles=((-90.0, -30.0, 30.0),) * 5,
            offset=0.0,
        ),
    )
    assert network.proposals.anchors.per_cell == 9
    assert network.roi_heads.box.bbox_reg_weights == (10.0, 10.0, 5.0, 5.0, 1.0)
    assert network.roi_heads.box.pooler == schema.Pooler(type="ROIAlignRotated", resolution=7, sampling_ratio=0)
    assert network.roi_heads.mask is network.roi_heads.keypoint is None and network.roi_heads.cascade == ()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["MODEL.ANCHOR_GENERATOR.ANGLES", "[0, 45]"], ((0.0, 45.0),) * 5),
        (["MODEL.ANCHOR_GENERATOR.ANGLES", "[[0], [10], [-20], [30], [200]]"], ((0,), (10,), (-20,), (30,), (200,))),
    ],
)
def test_angles_are_for_every_level_or_for_each(read: Any, overrides: list[str], expected: Any) -> None:
    assert read(*overrides).architecture.proposals.anchors.angles == expected


def test_a_proposal_network_can_be_rotated(read: Any) -> None:
    config = read("MODEL.META_ARCHITECTURE", "ProposalNetwork")
    assert config.architecture == schema.ProposalNetwork(proposals=read().architecture.proposals)


# overrides -> what the error must say. Half a rotated model is none, in detectron2 too.
REFUSED = {
    "upright anchors": (["MODEL.ANCHOR_GENERATOR.NAME", "DefaultAnchorGenerator"], "RotatedAnchorGenerator"),
    "upright proposals": (["MODEL.PROPOSAL_GENERATOR.NAME", "RPN"], "'RRPN'"),
    "given proposals": (["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "'RRPN'"),
    "upright heads": (["MODEL.ROI_HEADS.NAME", "StandardROIHeads"], "'RROIHeads'"),
    "upright pooler": (["MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignV2"], "'ROIAlignRotated'"),
    "masks": (["MODEL.MASK_ON", "True"], "MODEL.MASK_ON is True"),
    "keypoints": (["MODEL.KEYPOINT_ON", "True"], "MODEL.KEYPOINT_ON is True"),
    "four weights of the RPN": (["MODEL.RPN.BBOX_REG_WEIGHTS", "[1, 1, 1, 1]"], "RPN.BBOX_REG_WEIGHTS .* 5 numbers"),
    "four weights of the heads": (
        ["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "[10, 10, 5, 5]"],
        "ROI_BOX_HEAD.BBOX_REG_WEIGHTS .* 5 numbers",
    ),
    "no angles": (["MODEL.ANCHOR_GENERATOR.ANGLES", "[[]]"], "ANGLES .* lists of numbers"),
    "angles that are no numbers": (["MODEL.ANCHOR_GENERATOR.ANGLES", "[['north']]"], "ANGLES .* lists of numbers"),
    "angles for two levels of five": (["MODEL.ANCHOR_GENERATOR.ANGLES", "[[0], [90]]"], "ANGLES .* it has 2"),
    "unequal numbers of angles": (
        ["MODEL.ANCHOR_GENERATOR.ANGLES", "[[0], [0], [0], [0], [0, 90]]"],
        "x ANGLES. must be as many",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, read: Any) -> None:
    overrides, message = REFUSED[name]
    with pytest.raises(ConfigError, match=message):
        read(*overrides)


def test_rotated_anchors_alone_are_refused(tmp_path: Path) -> None:
    plain = Path(__file__).with_name("mask_rcnn.yaml")
    with pytest.raises(ConfigError, match="DefaultAnchorGenerator"):
        model_config(read_config(plain, ["MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator"]))
