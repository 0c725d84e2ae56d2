"""DeepLab's and Panoptic-DeepLab's keys: what is read, and what is refused with the key's name."""

import json
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.datasets import sem_seg_names, thing_ids
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "golden/detectron2/projects"
V3_PLUS = "DeepLab/configs/Cityscapes-SemanticSegmentation/deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16"
PANOPTIC = "Panoptic-DeepLab/configs/COCO-PanopticSegmentation/"
PANOPTIC += "panoptic_deeplab_R_52_os16_mg124_poly_200k_bs64_crop_640_640_coco_dsconv"
SEMANTIC, EMBED, RULE = "MODEL.SEM_SEG_HEAD", "MODEL.INS_EMBED_HEAD", "MODEL.PANOPTIC_DEEPLAB"
TWO = ["res4", "res5"]
V3 = {
    f"{SEMANTIC}.NAME": "DeepLabV3Head",
    f"{SEMANTIC}.IN_FEATURES": ["res5"],
    f"{SEMANTIC}.COMMON_STRIDE": 16,
    "MODEL.RESNETS.OUT_FEATURES": ["res5"],
}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Function: golden config, {key: value} -> schema.ModelConfig."""

    def make(name: str, changes: dict[str, Any] | None = None) -> schema.ModelConfig:
        file = tmp_path / "config.yaml"
        file.write_text(json.loads((FOLDER / name / "golden.json").read_text())["config_text"])
        overrides = [text for key, value in (changes or {}).items() for text in (key, str(value))]
        return model_config(read_config(file, overrides))

    return make


def test_v3_plus(read: Any) -> None:
    config = read(V3_PLUS)
    assert config.backbone.stem_type == "deeplab" and config.backbone.res5_multi_grid == (1, 2, 4)
    assert config.architecture.head == schema.DeepLabV3PlusHead(
        decoder=schema.DeepLabDecoder(
            in_features=("res2", "res5"),
            project_channels=(48,),
            aspp=schema.ASPP(channels=256, dilations=(6, 12, 18), crop_size=(128, 128)),
            conv_dims=256,
            common_stride=4,
            norm="SyncBN",
            use_depthwise_separable_conv=False,
        ),
        num_classes=19,
    )


def test_v3(read: Any) -> None:
    head = read(V3_PLUS, V3).architecture.head
    assert head == schema.DeepLabV3Head(
        in_feature="res5",
        aspp=schema.ASPP(channels=256, dilations=(6, 12, 18), crop_size=(128, 128)),
        num_classes=19,
        common_stride=16,
        norm="SyncBN",
        use_depthwise_separable_conv=False,
    )


def test_panoptic(read: Any) -> None:
    architecture = read(PANOPTIC).architecture
    assert architecture.thing_ids == tuple(range(80))
    assert (architecture.size_divisibility, architecture.nms_kernel, architecture.stuff_area) == (640, 41, 4096)
    assert (architecture.top_k, architecture.center_threshold, architecture.predict_instances) == (200, 0.1, True)
    assert architecture.sem_seg.head_channels == 256 and architecture.ins_embed.head_channels == 32
    assert architecture.ins_embed.decoder.conv_dims == 128
    assert architecture.ins_embed.decoder.use_depthwise_separable_conv


def test_images_that_were_whole_have_no_window(read: Any) -> None:
    config = read(V3_PLUS, {"INPUT.CROP.ENABLED": False, "INPUT.CROP.TYPE": "relative"})
    assert config.architecture.head.decoder.aspp.crop_size is None


def test_a_plain_backbone_has_none_of_it(read: Any) -> None:
    """build_resnet_backbone does not read the project's keys, though they are in the config."""
    config = read(V3_PLUS, {"MODEL.BACKBONE.NAME": "build_resnet_backbone"})
    assert (config.backbone.stem_type, config.backbone.res5_multi_grid) == ("basic", (1, 1, 1))


def test_things_of_data_sets() -> None:
    for name, first, count in (("cityscapes_fine_panoptic_train", 11, 8), ("coco_2017_val_panoptic", 0, 80)):
        assert thing_ids(name) == tuple(range(first, first + count))
    names = sem_seg_names("cityscapes_fine_panoptic_val")
    assert names[11] == "person" and names[18] == "bicycle"
    assert thing_ids("coco_2017_val_panoptic_separated") == thing_ids("ade20k_sem_seg_val") == thing_ids("mine") == ()


def test_things_of_a_users_data_set(read: Any) -> None:
    mine = {"DATASETS.TRAIN": ("mine",), f"{SEMANTIC}.NUM_CLASSES": 5}
    with pytest.raises(ConfigError, match=r"'mine'.*THING_IDS"):
        read(PANOPTIC, mine)
    assert read(PANOPTIC, {**mine, "DATASETS.THING_IDS": [3, 1]}).architecture.thing_ids == (1, 3)
    with pytest.raises(ConfigError, match=r"NUM_CLASSES is 5, but DATASETS.THING_IDS go up to 5"):
        read(PANOPTIC, {**mine, "DATASETS.THING_IDS": [5]})
    with pytest.raises(ConfigError, match=r"NUM_CLASSES is 5, but the things of coco"):
        read(PANOPTIC, {f"{SEMANTIC}.NUM_CLASSES": 5})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (V3_PLUS, {"INPUT.CROP.TYPE": "relative_range"}, "INPUT.CROP.TYPE is 'relative_range'"),
        (V3_PLUS, {"INPUT.CROP.SIZE": [0.9, 0.9]}, "INPUT.CROP.SIZE"),
        (V3_PLUS, {"INPUT.CROP.SIZE": [512]}, "INPUT.CROP.SIZE"),
        (V3_PLUS, {f"{SEMANTIC}.PROJECT_CHANNELS": [48, 48]}, "PROJECT_CHANNELS"),
        (V3_PLUS, {f"{SEMANTIC}.ASPP_DILATIONS": [6, 12]}, "ASPP_DILATIONS"),
        (V3_PLUS, {f"{SEMANTIC}.IN_FEATURES": ["res2", "res4"]}, "IN_FEATURES"),
        (V3_PLUS, {f"{SEMANTIC}.NORM": "IN"}, "NORM is 'IN'"),
        (V3_PLUS, {"MODEL.RESNETS.DEPTH": 34}, "DEPTH is 34"),
        (V3_PLUS, {"MODEL.RESNETS.STEM_TYPE": "vgg"}, "STEM_TYPE is 'vgg'"),
        (V3_PLUS, {"MODEL.RESNETS.RES4_DILATION": 2}, "RES5_DILATION"),
        (V3_PLUS, {"MODEL.RESNETS.RES5_MULTI_GRID": [1, 2]}, "RES5_MULTI_GRID"),
        (V3_PLUS, {"MODEL.RESNETS.NORM": "GN", "MODEL.RESNETS.STEM_OUT_CHANNELS": 96}, "STEM_OUT_CHANNELS / 2"),
        (V3_PLUS, {**V3, f"{SEMANTIC}.CONVS_DIM": 128}, "CONVS_DIM"),
        (V3_PLUS, {**V3, "MODEL.RESNETS.OUT_FEATURES": TWO, f"{SEMANTIC}.IN_FEATURES": TWO}, "one feature level"),
        (PANOPTIC, {f"{RULE}.USE_DEPTHWISE_SEPARABLE_CONV": False}, "USE_DEPTHWISE_SEPARABLE_CONV is False"),
        (PANOPTIC, {f"{RULE}.NMS_KERNEL": 6}, "NMS_KERNEL"),
        (PANOPTIC, {f"{RULE}.TOP_K_INSTANCE": 0}, "TOP_K_INSTANCE"),
        (PANOPTIC, {f"{RULE}.SIZE_DIVISIBILITY": 10000}, "SIZE_DIVISIBILITY"),
        (PANOPTIC, {f"{SEMANTIC}.NAME": "DeepLabV3PlusHead"}, "NAME is 'DeepLabV3PlusHead'"),
        (PANOPTIC, {f"{EMBED}.NAME": "Mine"}, "INS_EMBED_HEAD.NAME is 'Mine'"),
        (PANOPTIC, {f"{EMBED}.PROJECT_CHANNELS": [32]}, "INS_EMBED_HEAD.PROJECT_CHANNELS"),
    ],
)  # fmt: skip
def test_refusals(name: str, changes: dict[str, Any], message: str, read: Any) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        read(name, changes)
