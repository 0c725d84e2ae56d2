"""Semantic and panoptic cores as modules: free sizes, batches, levels that cannot be used. Numbers: test_parity*.py."""

import dataclasses
from typing import Any

import pytest
import torch

from d2deploy.config import schema
from d2deploy.config.yacs.model import model_config
from d2deploy.config.zoo import config_of
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model
from d2deploy.models.sem_seg_head import SemSegFPNHead, build_sem_seg_head
from d2deploy.models.spec import model_spec

SMALL = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 5,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 8,
    "MODEL.ROI_HEADS.NUM_CLASSES": 3,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.2,
}
NAMES = ("Misc/semantic_R_50_FPN_1x", "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x")


def config(name: str, **changes: Any) -> schema.ModelConfig:
    values = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return model_config(config_of(name, [text for pair in values.items() for text in map(str, pair)]))


@pytest.fixture(scope="module", params=NAMES)
def core(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    made = build_model(config(request.param))
    return made, [tensor.name for tensor in model_spec(config(request.param), made).outputs]


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 64, 64), (1, 1, 70), (1, 33, 1), (3, 40, 96)], ids=str)
def test_logits_are_as_large_as_the_padded_input(core: Any, size: tuple[int, int, int]) -> None:
    network, names = core
    count, height, width = size
    images, sizes = torch.rand(count, 3, height, width) * 255, torch.tensor([[height, width]] * count)
    outputs = dict(zip(names, network(images, sizes), strict=True))
    padded = [-(-edge // 32) * 32 for edge in (height, width)]
    assert list(outputs["sem_seg"].shape) == [count, 5, *padded]
    assert torch.isfinite(outputs["sem_seg"]).all()
    if "boxes" in outputs:
        assert outputs["mask_probs"].shape == (len(outputs["boxes"]), 28, 28)


@torch.inference_mode()
def test_a_batch_is_its_single_images(core: Any) -> None:
    network, names = core
    images, sizes = torch.rand(3, 3, 64, 96) * 255, torch.tensor([[64, 96]] * 3)
    together = network(images, sizes)[names.index("sem_seg")]
    for i in range(3):
        alone = network(images[i : i + 1], sizes[i : i + 1])[names.index("sem_seg")]
        torch.testing.assert_close(together[i], alone[0], atol=1e-4, rtol=1e-4)


def test_what_the_spec_says() -> None:
    made = config(NAMES[1], MODEL__PANOPTIC_FPN__COMBINE__STUFF_AREA_LIMIT=77)
    with torch.device("meta"):
        spec = model_spec(made, build_model(made))
    assert spec.outputs[-1].name == "sem_seg" and spec.outputs[-1].shape[1] == 5
    assert spec.panoptic is not None
    assert dataclasses.astuple(spec.panoptic) == (0.5, 77, 0.5)
    assert spec.thresholds is not None and spec.num_classes == 3
    made = config(NAMES[0])
    with torch.device("meta"):
        spec = model_spec(made, build_model(made))
    assert [tensor.name for tensor in spec.outputs] == ["sem_seg"]
    assert (spec.panoptic, spec.thresholds, spec.num_classes) == (None, None, 0)


# Levels and common stride -> convolutions of each level (every one but p2's is followed by a doubling)
HEADS = {
    "the official one": (("p2", "p3", "p4", "p5"), 4, {"p2": 1, "p3": 1, "p4": 2, "p5": 3}),
    "in another order": (("p5", "p2", "p4", "p3"), 4, {"p2": 1, "p3": 1, "p4": 2, "p5": 3}),
    "stride 8": (("p3", "p4", "p5"), 8, {"p3": 1, "p4": 1, "p5": 2}),
    "stride 2": (("p2", "p3"), 2, {"p2": 1, "p3": 2}),
    "one level": (("p6",), 4, {"p6": 4}),
}


class Levels:
    """A backbone's facts."""

    def __init__(self, names: tuple[str, ...] = ("p2", "p3", "p4", "p5", "p6"), size_divisor: int = 64) -> None:
        self.out_channels = dict.fromkeys(names, 6)
        self.out_strides = {name: 2 ** int(name[-1]) for name in names}
        self.size_divisor, self.square_size = size_divisor, 0


@torch.inference_mode()
@pytest.mark.parametrize("case", HEADS)
def test_branches(case: str) -> None:
    in_features, stride, convolutions = HEADS[case]
    made = schema.SemSegFPNHead(in_features=in_features, num_classes=3, conv_dims=8, common_stride=stride, norm="")
    head = build_sem_seg_head(made, Levels())
    assert isinstance(head, SemSegFPNHead)
    assert {name for name, _ in head.named_children()} == {*in_features, "predictor", "branches"}
    for name, count in convolutions.items():
        weights = [key for key in head.state_dict() if key.startswith(f"{name}.") and key.endswith("weight")]
        assert weights == [f"{name}.{2 * i}.weight" for i in range(count)]
    features = {f"p{i}": torch.rand(2, 6, 128 // 2**i, 192 // 2**i) for i in (2, 3, 4, 5, 6)}
    assert head(features).shape == (2, 3, 128, 192)


REFUSED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "no such level": ({"in_features": ("p2", "p9")}, Levels(), "no level p9"),
    "a stride above a level's": ({"common_stride": 8}, Levels(), "level p2 has stride 4, which is not 8, 16, 32"),
    "a stride that is no half": ({"common_stride": 3}, Levels(), "COMMON_STRIDE is 3"),
    "levels that do not fit each other": ({}, Levels(size_divisor=0), "cannot be added for every image size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_heads_that_would_fail_later(case: str) -> None:
    changes, levels, message = REFUSED[case]
    fields: dict[str, Any] = {"in_features": ("p2", "p3"), "num_classes": 3, "conv_dims": 8, "common_stride": 4}
    with pytest.raises(ConfigError, match=message):
        build_sem_seg_head(schema.SemSegFPNHead(**{**fields, **changes}, norm=""), levels)
