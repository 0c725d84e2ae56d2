"""DeepLab's parts: names, sizes, and what has no golden. Against detectron2: test_parity_regions.py."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model
from d2deploy.models.spec import model_spec

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFESTS = json.loads(gzip.decompress((GOLDEN / "manifests.json.gz").read_bytes()))
SEMANTIC = "DeepLab/configs/Cityscapes-SemanticSegmentation/"
PANOPTIC = "Panoptic-DeepLab/configs/Cityscapes-PanopticSegmentation/"
V3_PLUS = f"{SEMANTIC}deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16"
PLAIN = f"{PANOPTIC}panoptic_deeplab_R_52_os16_mg124_poly_90k_bs32_crop_512_1024"
HEAD = "MODEL.SEM_SEG_HEAD"
V3: tuple[str, ...] = (
    f"{HEAD}.NAME",
    "DeepLabV3Head",
    f"{HEAD}.IN_FEATURES",
    "['res5']",
    f"{HEAD}.COMMON_STRIDE",
    "16",
)
V3 += ("MODEL.RESNETS.OUT_FEATURES", "['res5']")


@pytest.fixture
def build(tmp_path: Path) -> Any:
    """Function: golden config, overrides -> (config, network on the meta device)."""

    def make(name: str, *overrides: str) -> Any:
        file = tmp_path / "config.yaml"
        facts = json.loads((GOLDEN / "detectron2/projects" / name / "golden.json").read_text())
        file.write_text(facts["config_text"])
        config = model_config(read_config(file, overrides))
        with torch.device("meta"):
            return config, build_model(config)

    return make


def shapes(core: torch.nn.Module) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in core.state_dict().items()}


def manifest(name: str) -> dict[str, list[int]]:
    (found,) = [keys for config, keys in MANIFESTS.items() if config.endswith(f"{name}.yaml")]
    return found


def test_names_and_shapes_of_v3(build: Any) -> None:
    """The one config of the project without a golden."""
    assert shapes(build(V3_PLUS, *V3)[1]) == manifest(f"{SEMANTIC}deeplab_v3_R_103_os16_mg124_poly_90k_bs16")


@pytest.mark.parametrize(
    ("overrides", "stride"),
    [
        ((), 16),
        (("MODEL.RESNETS.RES5_DILATION", "1"), 32),
        (("MODEL.RESNETS.RES4_DILATION", "2", "MODEL.RESNETS.RES5_DILATION", "4"), 8),
    ],
)
def test_dilation_stands_for_stride(overrides: tuple[str, ...], stride: int, build: Any) -> None:
    config, core = build(V3_PLUS, *overrides, "MODEL.RESNETS.DEPTH", "50")
    assert core.backbone.out_strides == {"res2": 4, "res5": stride}
    features = core.backbone(torch.zeros(1, 3, 64, 96, device="meta"))
    assert features["res5"].shape[2:] == (64 // stride, 96 // stride)
    dilations = [block.conv2.dilation[0] for block in core.backbone.res5]
    assert dilations == [grid * config.backbone.res5_dilation for grid in (1, 2, 4)]


def test_the_basic_stem_and_its_output(build: Any) -> None:
    core = build(V3_PLUS, "MODEL.RESNETS.STEM_TYPE", "basic")[1]
    assert shapes(core)["backbone.stem.conv1.weight"] == [128, 3, 7, 7]
    names = ("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", "['stem', 'res5']")
    levels = (f"{HEAD}.IN_FEATURES", "['stem', 'res5']")
    core = build(V3_PLUS, *names, *levels)[1]
    assert core.backbone(torch.zeros(1, 3, 64, 96, device="meta"))["stem"].shape == (1, 128, 16, 24)
    assert "sem_seg_head.decoder.stem.project_conv.weight" in shapes(core)


def test_a_crop_that_is_no_multiple_of_the_stride(build: Any) -> None:
    """detectron2: "Crop size need to be divisible by encoder stride"."""
    with pytest.raises(ConfigError, match=r"INPUT.CROP.SIZE is \(128, 120\).*multiples of 16"):
        build(V3_PLUS, "INPUT.CROP.SIZE", "[128, 120]")


def test_every_size_is_taken(build: Any) -> None:
    """detectron2 fails where the feature map is no multiple of the window (8 x 8 cells here), even a larger one."""
    core = build(V3_PLUS, "MODEL.RESNETS.DEPTH", "50")[1].to_empty(device="cpu")
    for parameter in (*core.parameters(), *core.buffers()):
        parameter.fill_(0.01)
    for height, width in ((128, 256), (130, 200), (20, 300), (1, 1)):
        (logits,) = core(torch.full((2, 3, height, width), 9.0), torch.tensor([[height, width], [1, 1]]))
        assert logits.shape[2] >= height and logits.shape[3] >= width
        assert torch.isfinite(logits).all()


def test_panoptic_heads(build: Any) -> None:
    """Plain and separable: the centre's convolutions stay plain."""
    plain, separable = (shapes(build(name)[1]) for name in (PLAIN, f"{PLAIN}_dsconv"))
    assert plain["ins_embed_head.offset_head.0.weight"] == [128, 128, 3, 3]
    assert separable["ins_embed_head.offset_head.depthwise.weight"] == [128, 1, 5, 5]
    for keys in (plain, separable):
        assert keys["ins_embed_head.center_head.1.weight"] == [32, 128, 3, 3]


def test_what_a_user_of_the_panoptic_network_is_told(build: Any) -> None:
    config, core = build(PLAIN)
    spec = model_spec(config, core)
    assert [tensor.name for tensor in spec.outputs] == ["sem_seg", "center", "offset"]
    assert [tensor.shape[1] for tensor in spec.outputs] == [19, 1, 2]
    assert spec.num_classes == 19 and spec.thresholds is None
    assert spec.panoptic_deeplab is not None and spec.panoptic_deeplab.thing_ids == tuple(range(11, 19))
    assert spec.preprocess.size_divisor == 1


def test_the_configs_padding_goes_before_the_backbones(build: Any) -> None:
    config, core = build(PLAIN, "MODEL.PANOPTIC_DEEPLAB.SIZE_DIVISIBILITY", "96")
    assert model_spec(config, core).preprocess.size_divisor == 96
    assert core.prepare(torch.zeros(1, 3, 97, 10), torch.tensor([[97, 10]])).shape == (1, 3, 192, 96)


def test_heads_on_one_level_and_without_norm(build: Any) -> None:
    head = (f"{HEAD}.IN_FEATURES", "['res5']", f"{HEAD}.PROJECT_CHANNELS", "[]", f"{HEAD}.NORM", "''")
    core = build(V3_PLUS, *head, f"{HEAD}.CONVS_DIM", "64", f"{HEAD}.COMMON_STRIDE", "16")[1]
    keys = shapes(core)
    # Without a finer level the decoder is as wide as ASPP, whatever CONVS_DIM says.
    assert keys["sem_seg_head.predictor.weight"] == [19, 256, 1, 1]
    assert keys["sem_seg_head.decoder.res5.project_conv.convs.0.bias"] == [256]
