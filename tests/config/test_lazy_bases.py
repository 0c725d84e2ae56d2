"""The configs that d2deploy carries, and which of them stands for a file that a config lacks."""

import ast

import pytest

from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.read import read_carried, read_lazy_config
from d2deploy.errors import ConfigError

LEAF = """
from ..common.optim import SGD as optimizer
from ..common.coco_schedule import lr_multiplier_1x as lr_multiplier
from ..common.data.coco import dataloader
from ..common.models.mask_rcnn_fpn import model
from ..common.train import train

model.backbone.bottom_up.freeze_at = 2
train["init_checkpoint"] = ""
train.max_iter *= 2
"""


def test_all_of_them_are_there():
    assert len(BASES) == len(set(BASES)) > 60
    kinds = {name.partition("/")[0] for name in BASES}
    assert kinds == {*("common", "new_baselines", "projects"), *(f"COCO-{kind}" for kind in KINDS)}
    with pytest.raises(KeyError):
        BASES["common/models/none.py"]


KINDS = ("Detection", "InstanceSegmentation", "Keypoints", "PanopticSegmentation")


@pytest.mark.parametrize("name", BASES)
def test_each_is_python_and_a_config(name):
    ast.parse(BASES[name])
    config = read_carried(name).to_dict()  # follows every reference
    assert config
    if "common/" not in name:
        assert config.keys() >= {"model", "dataloader", "train", "optimizer", "lr_multiplier"}
    assert repr(config).count("${") == 0


SCHEDULES = {1: [60000, 80000, 90000], 2: [60000, 80000, 90000], 3: [210000, 250000, 270000]}


@pytest.mark.parametrize("times", SCHEDULES)
def test_schedules(times):
    config = read_carried("common/coco_schedule.py")[f"lr_multiplier_{times}x"]
    assert [*config.scheduler.milestones, config.scheduler.num_updates] == SCHEDULES[times]
    assert config.warmup_length == 1000 / 90000 / times


def test_a_config_that_was_copied_alone(tmp_path):
    (tmp_path / "mine.py").write_text(LEAF)
    config = read_lazy_config(tmp_path / "mine.py")
    ours = read_carried("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py")
    assert config.model == ours.model and config.dataloader == ours.dataloader
    assert config.lr_multiplier == ours.lr_multiplier and config.optimizer == ours.optimizer
    assert (config.train.init_checkpoint, config.train.max_iter) == ("", 180000)
    read_lazy_config(tmp_path / "mine.py")
    assert ours.train.max_iter == 90000  # no config changes what is carried


# Path of the copied config, what it imports, what that stands for.
ALONE = {
    "my/lsj.py": (".mask_rcnn_R_50_FPN_100ep_LSJ", "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py"),
    "COCO/mine.py": (".mask_rcnn_vitdet_b_100ep", "projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py"),
    "LVIS/mine.py": (".mask_rcnn_vitdet_b_100ep", "projects/ViTDet/configs/LVIS/mask_rcnn_vitdet_b_100ep.py"),
    "my/mask_rcnn_vitdet_h_75ep.py": (
        ".mask_rcnn_vitdet_b_100ep",
        "projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py",
    ),
    "a/b/mine.py": ("..COCO.mask_rcnn_vitdet_b_100ep", "projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py"),
    "my/vit.py": ("..common.coco_loader_lsj", "projects/ViTDet/configs/common/coco_loader_lsj.py"),
    "my/mvit.py": (".common.coco_loader_lsj", "projects/MViTv2/configs/common/coco_loader_lsj.py"),
    "configs/common/models/mine.py": ("..train", "common/train.py"),
}


@pytest.mark.parametrize("path", ALONE)
def test_which_carried_config_is_meant(path, tmp_path):
    module, expected = ALONE[path]
    name = "train" if expected == "common/train.py" else "dataloader"
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"from {module} import {name}\n")
    assert read_lazy_config(file)[name] == read_carried(expected)[name]


def test_one_of_two_that_nothing_tells_apart(tmp_path):
    (tmp_path / "mine.py").write_text("from .mask_rcnn_vitdet_b_100ep import model\n")
    with pytest.raises(ConfigError, match=r"line 1: .*may be any of .*/COCO/.*, .*/LVIS/.*a folder of the same name"):
        read_lazy_config(tmp_path / "mine.py")


def test_a_file_of_ones_own_goes_before(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common/train.py").write_text("train = dict(max_iter=7)")
    (tmp_path / "leaf").mkdir()
    (tmp_path / "leaf/mine.py").write_text("from ..common.train import train\n")
    assert read_lazy_config(tmp_path / "leaf/mine.py").train == {"max_iter": 7}
    (tmp_path / "leaf/mine.py").write_text("from ..common.trains import train\n")
    with pytest.raises(ConfigError, match=r"common/trains\.py, which is imported, does not exist"):
        read_lazy_config(tmp_path / "leaf/mine.py")
