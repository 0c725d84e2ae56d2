"""detectron2's official models: the configs are detectron2's own, the table is whole."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config.loader import parse_tree
from d2deploy.config.node import Node
from d2deploy.config.projects import defaults
from d2deploy.config.zoo import ZooModel, config_of, find, has_lazy_config, is_zoo_name, lazy_config_of, zoo_models
from d2deploy.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden"
with gzip.open(GOLDEN / "configs.json.gz") as _file:
    DUMPS: dict[str, dict[str, Any]] = json.load(_file)  # {config: overrides, and the config as detectron2 dumps it}
with gzip.open(GOLDEN / "manifests.json.gz") as _file:
    MANIFESTS = json.load(_file)
WITH_CONFIG = [model.name for model in zoo_models() if not model.is_lazy]
LAZY = [model.name for model in zoo_models() if model.is_lazy]


def plain(value: Any) -> Any:
    """As a dump shows it: tuples are lists there."""
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list | tuple) else value


def leaves(tree: Any, prefix: str = "") -> dict[str, str]:
    """Dotted name to repr: 1 is not 1.0, and not True."""
    if not isinstance(tree, dict):
        return {prefix: repr(tree)}
    return {key: text for name, child in tree.items() for key, text in leaves(child, f"{prefix}.{name}").items()}


def test_the_dumps_are_many_and_not_all_alike():
    assert len(DUMPS) == 47
    assert len({dump["config_text"] for dump in DUMPS.values()}) == 47


@pytest.mark.parametrize("config", DUMPS)
def test_the_config_is_detectron2s(config):
    dump = DUMPS[config]
    expected = leaves(parse_tree(dump["config_text"], Path(config)))
    found = leaves(plain(config_of(config, dump["overrides"]).to_dict()))
    assert len(expected) > 150
    assert found == expected


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_every_config_is_read(name):
    config = config_of(name)
    assert isinstance(config, Node)
    model = find(name)
    found = (config.MODEL.WEIGHTS, config.MODEL.META_ARCHITECTURE)
    assert found == (model.weights, META.get(model.family, "GeneralizedRCNN"))
    assert plain(config.to_dict()) != plain(defaults())


def test_every_lazy_config_is_read():
    assert len(LAZY) > 40
    for name in LAZY:
        model = find(name)
        config = lazy_config_of(name)
        assert has_lazy_config(name)
        assert config.model.target.rpartition(".")[2] == META.get(model.family, "GeneralizedRCNN")
        assert config.train.init_checkpoint == model.weights
        assert "LVIS" in name or config.dataloader.test.dataset.names == "coco_2017_val"
        heads = config.model.get("roi_heads", config.model)
        assert heads.num_classes == (1203 if "LVIS" in name else 80)


def test_a_model_with_both_kinds_of_config():
    name = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"
    assert not has_lazy_config(name) and has_lazy_config(f"{name}.py") and has_lazy_config(f"configs/{name}.py")
    assert lazy_config_of(f"{name}.py").train.init_checkpoint == find(name).weights
    assert not has_lazy_config("COCO-Detection/faster_rcnn_R_50_FPN_1x.py")


META = {
    "FCOS": "FCOS",
    "Semantic PointRend": "SemanticSegmentor",
    "DeepLab v3": "SemanticSegmentor",
    "DeepLab v3+": "SemanticSegmentor",
    "Panoptic-DeepLab": "PanopticDeepLab",
    "RetinaNet": "RetinaNet",
    "RPN": "ProposalNetwork",
    "Panoptic FPN": "PanopticFPN",
    "Semantic FPN": "SemanticSegmentor",
    "TensorMask": "TensorMask",
}


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_the_config_says_what_the_name_says(name):
    config = config_of(name)
    depth = re.search(r"_[RX]_(\d+)_", name)
    assert depth or "HRNet" in name
    is_deeplab = "deeplab" in name
    says = {
        # DeepLab's stem has three convolutions, which its authors count.
        "DEPTH": int(depth[1]) - 2 * is_deeplab if depth else 50,
        "NUM_GROUPS": 32 if "32x8d" in name else 1,
        "RES5_DILATION": 2 if "DC5" in name or is_deeplab else 1,
        "MASK_ON": any(
            word in name for word in ("mask_rcnn", "panoptic_fpn", "pointrend_rcnn", "implicit", "tensormask")
        ),
        "KEYPOINT_ON": "keypoint" in name,
    }
    assert {key: {**config.MODEL, **config.MODEL.RESNETS}[key] for key in says} == says
    assert ("fpn" in config.MODEL.BACKBONE.NAME) == (not any(word in name for word in ("C4", "DC5", "deeplab")))


def test_names_are_detectron2s_own():
    known = {name.rpartition(".")[0] for name in MANIFESTS if not name.startswith("projects/")}
    projects = {name.rpartition(".")[0] for name in MANIFESTS if name.startswith("projects/")}
    files = {model.config_file.removeprefix("configs/").rpartition(".")[0] for model in zoo_models()}
    core = {file for file in files if not file.startswith("projects/")}
    assert len(core & known) > 50
    assert len(projects & files) > 15


def test_weights_have_a_place_of_their_own():
    published = [model.weights for model in zoo_models() if model.weights]
    assert len(published) == len(set(published)) == 151
    for weights in published:
        place = r"(detectron2://|https://dl\.fbaipublicfiles\.com/densepose/)[\w./-]+/[\w-]+\.pkl"
        assert re.fullmatch(place, weights), weights
    assert find("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x").weights == (
        "detectron2://COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl"
    )
    assert find("DensePose/cse/densepose_rcnn_R_50_FPN_s1x").weights == (
        "https://dl.fbaipublicfiles.com/densepose/cse/densepose_rcnn_R_50_FPN_s1x/251155172/model_final_c4ea5f.pkl"
    )
    assert find("LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x").weights == ""


# Published as what other models' training began with.
UNMEASURED = ("DensePose/cse/densepose_rcnn_R_50_FPN_soft_animals_finetune_maskonly_24k",)


@pytest.mark.parametrize("model", zoo_models(), ids=lambda model: model.name)
def test_published_numbers(model: ZooModel):
    assert set(model.ap) <= {"box", "mask", "keypoint", "PQ", "AR@1000", "AP50", "mIoU", "densepose"}
    assert all(20 <= value < 85 for value in model.ap.values())
    assert bool(model.ap) == (bool(model.weights) and model.name not in UNMEASURED)
    assert ("densepose" in model.ap) == (bool(model.ap) and model.name.startswith("DensePose/"))
    if "mask" in model.ap and "box" in model.ap and "LVISv0.5" not in model.name:
        assert model.ap["mask"] < model.ap["box"]


def test_a_model_as_detectron2_lists_it():
    model = find("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    assert model.name == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
    assert model.family == "Mask R-CNN"
    assert dict(model.ap) == {"box": 41.0, "mask": 37.2}
    assert model.config_file == "configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    with pytest.raises(TypeError):
        model.ap["box"] = 50.0


NEAR = {
    "mask_rcnn_R_50_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
    "COCO-Detection/faster_rcnn_R_50_FPN_3": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "coco/faster_rcnn_R50_FPN_3x": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "my_model": "d2deploy zoo lists all names",
    "": "d2deploy zoo lists all names",
}


@pytest.mark.parametrize("name", NEAR)
def test_the_nearest_names(name):
    assert not is_zoo_name(name)
    with pytest.raises(ConfigError, match=rf"is neither a file nor .*{re.escape(NEAR[name])}"):
        find(name)


def test_models_of_projects_have_their_place():
    name, file = "TensorMask/tensormask_R_50_FPN_1x", "projects/TensorMask/configs/tensormask_R_50_FPN_1x.yaml"
    assert is_zoo_name(name) and is_zoo_name(file) and find(file).config_file == file
    with pytest.raises(ConfigError, match=r"no config of its own for ViTDet/"):
        config_of(next(name for name in LAZY if name.startswith("ViTDet/")))
    with pytest.raises(ConfigError, match=r"mask_rcnn_R_101_FPN_3x\.yaml in its repository"):
        lazy_config_of("COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.py")


def test_overrides_go_over_the_table():
    config = config_of(
        "PascalVOC-Detection/faster_rcnn_R_50_C4", ["MODEL.WEIGHTS", "x.pth", "MODEL.ROI_HEADS.NUM_CLASSES", "3"]
    )
    assert config.MODEL.WEIGHTS == "x.pth" and config.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert config_of("PascalVOC-Detection/faster_rcnn_R_50_C4").MODEL.ROI_HEADS.NUM_CLASSES == 20
    with pytest.raises(ConfigError, match=r"MODEL\.MASK_OFF"):
        config_of("PascalVOC-Detection/faster_rcnn_R_50_C4", ["MODEL.MASK_OFF", "True"])
    with pytest.raises(ConfigError, match=r"NUM_CLASSES in the overrides is 'x'"):
        config_of("PascalVOC-Detection/faster_rcnn_R_50_C4", ["MODEL.ROI_HEADS.NUM_CLASSES", "x"])
