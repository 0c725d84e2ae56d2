"""TridentNet's keys: what is read, and what is refused with the key's name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import config_of
from d2deploy.errors import ConfigError

NAME = "TridentNet/tridentnet_fast_R_50_C4_1x"
TRIDENT = "MODEL.TRIDENT"
DC5 = {
    "MODEL.RESNETS.OUT_FEATURES": ["res5"],
    "MODEL.RESNETS.RES5_DILATION": 2,
    f"{TRIDENT}.TRIDENT_STAGE": "res5",
    "MODEL.RPN.IN_FEATURES": ["res5"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["res5"],
    "MODEL.ROI_HEADS.NAME": "TridentStandardROIHeads",
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
}
# The config as TridentNet's users have it: what differs from a C4 model, and no key of the section.
PARTS = """
MODEL:
  BACKBONE: {NAME: build_trident_resnet_backbone}
  PROPOSAL_GENERATOR: {NAME: TridentRPN}
  ROI_HEADS: {NAME: TridentRes5ROIHeads}
  RESNETS: {DEPTH: 50}
"""


def read(changes: dict[str, Any]) -> schema.ModelConfig:
    return read_model_config(NAME, [text for key, value in changes.items() for text in (key, str(value))])


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {key: value for name, child in tree.items() for key, value in leaves(child, f"{prefix}.{name}").items()}


def test_the_official_config_is_a_c4_models_but_for_this() -> None:
    plain = leaves(config_of("COCO-Detection/faster_rcnn_R_50_C4_1x").to_dict())
    ours = leaves(config_of(NAME).to_dict())
    changed = {key.removeprefix(".MODEL."): value for key, value in ours.items() if plain.get(key) != value}
    assert plain.keys() <= ours.keys()
    assert changed == {
        "BACKBONE.NAME": "build_trident_resnet_backbone",
        "PROPOSAL_GENERATOR.NAME": "TridentRPN",
        "RPN.POST_NMS_TOPK_TRAIN": 500,
        "ROI_HEADS.NAME": "TridentRes5ROIHeads",
        "ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
        "ROI_HEADS.POSITIVE_FRACTION": 0.5,
        "ROI_HEADS.PROPOSAL_APPEND_GT": False,
        "TRIDENT.NUM_BRANCH": 3,
        "TRIDENT.BRANCH_DILATIONS": [1, 2, 3],
        "TRIDENT.TRIDENT_STAGE": "res4",
        "TRIDENT.TEST_BRANCH_IDX": 1,
        "WEIGHTS": "detectron2://TridentNet/tridentnet_fast_R_50_C4_1x/148572687/model_final_756cda.pkl",
    }


def test_a_file_of_parts_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(PARTS)
    found, official = read_model_config(tmp_path / "config.yaml"), read({})
    assert (found.backbone, found.architecture) == (official.backbone, official.architecture)
    backbone, heads = official.backbone, official.architecture.roi_heads
    assert (backbone.trident_stage, backbone.trident_dilation) == ("res4", 2)
    assert isinstance(heads, schema.Res5ROIHeads) and heads.resnet.trident_stage == ""


@pytest.mark.parametrize("rest", ["R_50_C4_1x", "R_50_C4_3x", "R_101_C4_3x"])
def test_the_network_is_a_c4_models_but_for_one_stage(rest: str) -> None:
    found = read_model_config(f"TridentNet/tridentnet_fast_{rest}")
    plain = read_model_config(f"COCO-Detection/faster_rcnn_{rest}")
    assert isinstance(plain.backbone, schema.ResNet)
    assert found.backbone == dataclasses.replace(plain.backbone, trident_stage="res4", trident_dilation=2)
    assert (found.architecture, found.input, found.dataset) == (plain.architecture, plain.input, plain.dataset)


@pytest.mark.parametrize(("branch", "dilation"), [(0, 1), (1, 2), (2, 3)])
def test_a_branch_and_its_dilation(branch: int, dilation: int) -> None:
    assert read({f"{TRIDENT}.TEST_BRANCH_IDX": branch}).backbone.trident_dilation == dilation


def test_standard_heads_on_a_trident_res5() -> None:
    config = read(DC5)
    assert isinstance(config.architecture.roi_heads, schema.ROIHeads)
    assert (config.backbone.trident_stage, config.backbone.res5_dilation) == ("res5", 2)


@pytest.mark.parametrize("plain", ["MODEL.BACKBONE.NAME", "MODEL.PROPOSAL_GENERATOR.NAME", "MODEL.ROI_HEADS.NAME"])
def test_every_part_refuses_all_branches(plain: str) -> None:
    names = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.PROPOSAL_GENERATOR.NAME": "RPN",
        "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    }
    only_one_left = {key: name for key, name in names.items() if key != plain}
    with pytest.raises(ConfigError, match=r"TEST_BRANCH_IDX is -1.*-o MODEL\.TRIDENT\.TEST_BRANCH_IDX 1"):
        read({**only_one_left, f"{TRIDENT}.TEST_BRANCH_IDX": -1})
    assert read({**names, f"{TRIDENT}.TEST_BRANCH_IDX": -1}).backbone.trident_stage == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{TRIDENT}.TEST_BRANCH_IDX": 3}, "TEST_BRANCH_IDX is 3; it must be one branch, 0 to 2"),
        ({f"{TRIDENT}.NUM_BRANCH": 2}, "BRANCH_DILATIONS is [1, 2, 3]; it must be one dilation for each of 2 branches"),
        ({f"{TRIDENT}.NUM_BRANCH": 0}, "NUM_BRANCH is 0"),
        ({f"{TRIDENT}.BRANCH_DILATIONS": [1, 0, 3]}, "BRANCH_DILATIONS is [1, 0, 3]"),
        ({f"{TRIDENT}.TRIDENT_STAGE": "res6"}, "TRIDENT_STAGE is 'res6'; can be: 'res2', 'res3', 'res4', 'res5'"),
        ({f"{TRIDENT}.TEST_BRANCH": 1}, "MODEL.TRIDENT.TEST_BRANCH"),
        ({"MODEL.RESNETS.DEPTH": 34}, "DEPTH is 34"),
        ({"MODEL.RESNETS.OUT_FEATURES": ["stem", "res4"]}, "OUT_FEATURES"),
        ({"MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, True, False]}, "it must be false for res4"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(changes)
    assert message in str(caught.value)
