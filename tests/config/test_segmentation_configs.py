"""Keys and arguments of semantic and panoptic networks: read from both kinds of config, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden/detectron2"
SEMANTIC, PANOPTIC = "Misc/semantic_R_50_FPN_1x", "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x"
LAZY = "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x_py"
HEAD = schema.SemSegFPNHead(
    in_features=("p2", "p3", "p4", "p5"), num_classes=54, conv_dims=128, common_stride=4, norm="GN"
)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Function: golden config, then (old text, new text) in it and overrides -> schema.ModelConfig."""

    def make(name: str, *overrides: Any, change: tuple[str, str] = ("", "")) -> schema.ModelConfig:
        text = json.loads((GOLDEN / name / "golden.json").read_text())["config_text"]
        assert change[0] in text
        file = tmp_path / "config.yaml"
        file.write_text(text.replace(*change))
        return read_model_config(file, overrides, min_size=256, max_size=427)

    return make


def test_semantic(read: Any) -> None:
    config = read(SEMANTIC)
    assert config.architecture == schema.SemanticSegmentor(head=HEAD)
    assert config.detections is None and config.meta_architecture == "SemanticSegmentor"
    assert config.dataset == "coco_2017_val_panoptic_stuffonly"


@pytest.mark.parametrize("name", [PANOPTIC, LAZY])
def test_panoptic(read: Any, name: str) -> None:
    config = read(name)
    network = config.architecture
    assert isinstance(network, schema.PanopticFPN)
    assert network.sem_seg == HEAD
    assert network.combine == schema.PanopticCombine(
        overlap_thresh=0.5, stuff_area_thresh=4096, instances_score_thresh=0.5
    )
    assert network.detector.roi_heads.mask is not None
    assert config.detections == network.detector.roi_heads.detections


def test_both_kinds_of_config_say_the_same(read: Any) -> None:
    assert read(PANOPTIC).architecture == read(LAZY).architecture


def test_every_key_counts(read: Any) -> None:
    keys = {"IN_FEATURES": ["p3", "p4"], "NUM_CLASSES": 7, "CONVS_DIM": 96, "COMMON_STRIDE": 8, "NORM": "BN"}
    overrides = [text for key, value in keys.items() for text in (f"MODEL.SEM_SEG_HEAD.{key}", str(value))]
    combine = {"OVERLAP_THRESH": 0.4, "STUFF_AREA_LIMIT": 10, "INSTANCES_CONFIDENCE_THRESH": 0.6, "ENABLED": False}
    overrides += [text for key, value in combine.items() for text in (f"MODEL.PANOPTIC_FPN.COMBINE.{key}", str(value))]
    network = read(PANOPTIC, *overrides).architecture
    assert network.sem_seg == schema.SemSegFPNHead(
        in_features=("p3", "p4"), num_classes=7, conv_dims=96, common_stride=8, norm="BN"
    )
    assert network.combine == schema.PanopticCombine(
        overlap_thresh=0.4, stuff_area_thresh=10, instances_score_thresh=0.6
    )


def test_every_argument_counts(read: Any) -> None:
    overrides = ["model.sem_seg_head.norm=BN", "model.sem_seg_head.conv_dims=96", "model.sem_seg_head.num_classes=7"]
    thresholds = ("combine_overlap_thresh=0.4", "combine_stuff_area_thresh=10.5", "combine_instances_score_thresh=0.6")
    network = read(LAZY, *overrides, *(f"model.{threshold}" for threshold in thresholds)).architecture
    assert (network.sem_seg.norm, network.sem_seg.conv_dims, network.sem_seg.num_classes) == ("BN", 96, 7)
    assert network.combine == schema.PanopticCombine(
        overlap_thresh=0.4, stuff_area_thresh=11, instances_score_thresh=0.6
    )


REFUSED = {
    "another head": (SEMANTIC, ("MODEL.SEM_SEG_HEAD.NAME", "MyHead"), "MODEL.SEM_SEG_HEAD.NAME is 'MyHead'; can be"),
    "a norm": (SEMANTIC, ("MODEL.SEM_SEG_HEAD.NORM", "XN"), "MODEL.SEM_SEG_HEAD.NORM is 'XN'"),
    "a level": (SEMANTIC, ("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['p9']"), "MODEL.SEM_SEG_HEAD.IN_FEATURES"),
    "no class": (SEMANTIC, ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "0"), "NUM_CLASSES is 0; it must be a whole number"),
    "groups": (SEMANTIC, ("MODEL.SEM_SEG_HEAD.CONVS_DIM", "100"), "CONVS_DIM is 100"),
    "no masks": (PANOPTIC, ("MODEL.MASK_ON", "False"), "MODEL.MASK_ON is False; can be: True"),
    "lazy: a level": (LAZY, ("model.sem_seg_head.input_shape.p9=1",), "model.sem_seg_head.input_shape is"),
    "lazy: a stride": (LAZY, ("model.sem_seg_head.input_shape.p2.stride=8",), "but the backbone gives 4"),
    "lazy: groups": (LAZY, ("model.sem_seg_head.conv_dims=100",), "norm GN on 100 channels"),
    "lazy: an argument": (LAZY, ("model.sem_seg_head.dropout=0.5",), "does not know: dropout"),
    "lazy: no masks": (LAZY, ("~model.roi_heads.mask_in_features",), "nothing to combine"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_named(read: Any, case: str) -> None:
    name, overrides, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        read(name, *overrides)


def test_a_lazy_semantic_segmentor(read: Any) -> None:
    text = json.loads((GOLDEN / LAZY / "golden.json").read_text())["config_text"]
    start, end = text.index("  proposal_generator:"), text.index("  sem_seg_head:")
    change = (text[start:end], "")
    with pytest.raises(ConfigError, match="model has no roi_heads"):
        read(LAZY, change=change)
    name = "model._target_=detectron2.modeling.SemanticSegmentor"
    config = read(LAZY, name, "~model.input_format", change=change)
    assert config.architecture == schema.SemanticSegmentor(head=HEAD)
