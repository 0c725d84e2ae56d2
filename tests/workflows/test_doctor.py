"""doctor: each mistake of a table, made in a config that is right, is smelt; the right config smells of nothing."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from d2deploy.cli import main
from d2deploy.errors import ConfigError
from d2deploy.workflows.doctor import diagnose

DEMO = Path(__file__).parents[2] / "src/d2deploy/demo"
CONFIG, WEIGHTS = DEMO / "config.yaml", DEMO / "model_final.pth"
MODELS = Path(__file__).parents[1] / "golden/models"

# What is done to the demo's config -> level and text of what must be found, without and with the checkpoint.
BY_CONFIG = {
    "mean of 0 to 1": (["MODEL.PIXEL_MEAN", "[0.406, 0.456, 0.485]"], "wrong", "for pixels of 0 to 1"),
    "std of 0 to 1": (["MODEL.PIXEL_STD", "[0.225, 0.224, 0.229]"], "wrong", "std .* for pixels of 0 to 1"),
    "channels": (["INPUT.FORMAT", "RGB"], "odd", "in the order BGR, INPUT.FORMAT is RGB"),
    "mean": (["MODEL.PIXEL_MEAN", "[123.675, 116.28, 103.53]"], "odd", "in the order RGB, INPUT.FORMAT is BGR"),
    "stride": (["MODEL.RESNETS.STRIDE_IN_1X1", "True"], "odd", "STRIDE_IN_1X1 is true and the pixel std is not 1"),
    "data set": (["DATASETS.TEST", "('coco_2017_val',)"], "odd", "coco_2017_val has 80 classes, the network 8"),
    "threshold": (["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.7"], "odd", "score threshold is 0.7"),
}
BY_CHECKPOINT = {
    "classes": (["MODEL.ROI_HEADS.NUM_CLASSES", "80"], "-o MODEL.ROI_HEADS.NUM_CLASSES 8"),
    "no mask": (["MODEL.MASK_ON", "False"], "-o MODEL.MASK_ON True"),
    "depth": (["MODEL.RESNETS.DEPTH", "101"], "-o MODEL.RESNETS.DEPTH 50"),
    "keypoints": (["MODEL.KEYPOINT_ON", "True"], "-o MODEL.KEYPOINT_ON False"),
    "groups": (["MODEL.RESNETS.NUM_GROUPS", "2"], "-o MODEL.RESNETS.NUM_GROUPS 1"),
    "deformable": (["MODEL.RESNETS.DEFORM_ON_PER_STAGE", "[False, True, True, True]"], "DEFORM_ON_PER_STAGE"),
    "cascade": (
        ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"],
        "-o MODEL.ROI_HEADS.NAME StandardROIHeads",
    ),
    "semantic": (["MODEL.META_ARCHITECTURE", "PanopticFPN"], "-o MODEL.META_ARCHITECTURE GeneralizedRCNN"),
    "channels": (["MODEL.FPN.OUT_CHANNELS", "32"], "does not fit the network"),
}


def test_the_right_config_smells_of_nothing() -> None:
    diagnosis = diagnose(CONFIG, WEIGHTS)
    assert diagnosis.ok and diagnosis.findings == ()
    assert "356 loaded, 0 missing" in str(diagnosis) and "nothing looks wrong" in str(diagnosis)


@pytest.mark.parametrize("case", BY_CONFIG)
def test_what_a_config_shows(case: str) -> None:
    overrides, level, text = BY_CONFIG[case]
    found = [f for f in diagnose(CONFIG, overrides=overrides).findings if f.level != "note"]
    assert any(f.level == level and re.search(text, f.text) for f in found), found


@pytest.mark.parametrize("case", BY_CHECKPOINT)
def test_what_a_checkpoint_shows(case: str) -> None:
    overrides, text = BY_CHECKPOINT[case]
    diagnosis = diagnose(CONFIG, WEIGHTS, overrides=overrides)
    assert not diagnosis.ok
    assert any(f.level == "wrong" and text in f.text for f in diagnosis.findings), diagnosis.findings


@pytest.mark.parametrize("model", ["retinanet", "keypoint_rcnn", "panoptic_fpn"])
def test_trained_models_are_right(model: str) -> None:
    folder = MODELS / model
    diagnosis = diagnose(folder / "config.yaml", folder / "model_final.pth")
    assert [f for f in diagnosis.findings if f.level == "wrong"] == []


def test_another_familys_checkpoint() -> None:
    diagnosis = diagnose(MODELS / "retinanet/config.yaml", WEIGHTS)
    assert "-o MODEL.META_ARCHITECTURE GeneralizedRCNN" in str(diagnosis) and not diagnosis.ok


def test_torchvisions_backbone_needs_its_own_pixels(tmp_path: Path) -> None:
    shutil.copy(CONFIG, tmp_path)
    content = torch.load(WEIGHTS, weights_only=True)
    torch.save({**content, "__author__": "torchvision"}, tmp_path / "tv.pth")
    diagnosis = diagnose(tmp_path / "config.yaml", tmp_path / "tv.pth")
    assert "the weights are torchvision's: they need INPUT.FORMAT RGB" in str(diagnosis)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    content = torch.load(WEIGHTS, weights_only=True)
    next(iter(content["model"].values())).fill_(float("nan"))
    torch.save(content, tmp_path / "nan.pth")
    diagnosis = diagnose(CONFIG, tmp_path / "nan.pth")
    assert not diagnosis.ok and "not finite" in str(diagnosis)


def test_a_config_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError):
        diagnose("nothing.yaml")


@pytest.mark.parametrize(("words", "code"), [([], 0), (["-o", "MODEL.MASK_ON", "False"], 1)])
def test_the_exit_code(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", str(CONFIG), str(WEIGHTS), *words])
    assert stopped.value.code == code
    assert "GeneralizedRCNN: FPN, ResNet-50, RPN, one box head" in capsys.readouterr().out
