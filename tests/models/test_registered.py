"""Each kind of part that a user can write: built from a config, and the same through both ways of TorchScript."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from d2deploy import registry
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError
from d2deploy.modeling import (
    BaseKeypointRCNNHead,
    BaseMaskRCNNHead,
    MetaArchitecture,
    ShapeSpec,
    configurable,
)
from d2deploy.models.build import build_model
from d2deploy.models.spec import model_spec
from d2deploy.ops import LEAVES

REGISTRIES = {name: value for name, value in vars(registry).items() if isinstance(value, registry.Registry)}

BASE = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: true
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 8, OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[8], [16], [32], [64], [128]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 20}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5], NUM_CLASSES: 3}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 7}
  ROI_MASK_HEAD: {NUM_CONV: 1, CONV_DIM: 8}
  ROI_KEYPOINT_HEAD: {NUM_KEYPOINTS: 2, CONV_DIMS: [8]}
  SEM_SEG_HEAD: {NUM_CLASSES: 4, CONVS_DIM: 32}
"""


class MyBoxHead(nn.Module):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.fc = nn.Linear(input_shape.channels * input_shape.height * input_shape.width, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).relu()

    @property
    def output_shape(self) -> ShapeSpec:
        return ShapeSpec(channels=12)

    __jit_unused_properties__ = ["output_shape"]  # noqa: RUF012 - torch's own name


class MyMaskHead(BaseMaskRCNNHead):
    @configurable
    def __init__(self, input_shape: ShapeSpec, *, num_classes: int, **rest):
        super().__init__(**rest)
        self.up = nn.ConvTranspose2d(input_shape.channels or 0, num_classes, 2, stride=2)

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
        }

    def layers(self, x: Tensor) -> Tensor:
        return self.up(x)


class MyKeypointHead(BaseKeypointRCNNHead):
    def __init__(self, input_shape: ShapeSpec, *, num_keypoints: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(input_shape.channels or 0, num_keypoints, 4, stride=4)

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {**super().from_config(cfg, input_shape), "input_shape": input_shape}

    def layers(self, x: Tensor) -> Tensor:
        return self.up(x)


class MySemSegHead(nn.Module):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.stride = input_shape["p2"].stride
        self.predict = nn.Conv2d(input_shape["p2"].channels, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, 1)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        x = nn.functional.interpolate(self.predict(features["p2"]), scale_factor=float(self.stride), mode="bilinear")
        losses: dict[str, Tensor] = {}
        return x, losses


class MyProposals(nn.Module):
    """The image's quarters."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.score = nn.Linear(4, 1)

    def forward(self, features: dict[str, Tensor], image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image_sizes.float().unbind(1)
        zero = torch.zeros_like(height)
        boxes = torch.stack(
            [
                torch.stack([zero, zero, width / 2, height / 2], 1),
                torch.stack([width / 2, height / 2, width, height], 1),
            ],
            1,
        )
        return boxes, self.score(boxes / 100)[:, :, 0]


class MyROIHeads(nn.Module):
    """Every proposal is an object."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        where = (logits > float("-inf")).nonzero()
        scores = (logits[where[:, 0], where[:, 1]] * self.weight).sigmoid()
        return [proposals[where[:, 0], where[:, 1]], scores, torch.zeros_like(where[:, 0]), where[:, 0]]


class MyNetwork(MetaArchitecture):
    outputs = ("sem_seg",)

    def __init__(self, cfg):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        return [self.conv(images / 255)]


# Part -> its registry, what the config says, which tensors come out.
BOXES = ["boxes", "scores", "classes", "image_index"]
CASES = {
    MyBoxHead: ("ROI_BOX_HEAD_REGISTRY", ["MODEL.ROI_BOX_HEAD.NAME"], [*BOXES, "mask_probs"]),
    MyMaskHead: ("ROI_MASK_HEAD_REGISTRY", ["MODEL.ROI_MASK_HEAD.NAME"], [*BOXES, "mask_probs"]),
    MyKeypointHead: (
        "ROI_KEYPOINT_HEAD_REGISTRY",
        ["MODEL.ROI_KEYPOINT_HEAD.NAME", "MODEL.KEYPOINT_ON", "True", "MODEL.MASK_ON", "False"],
        [*BOXES, "keypoint_heatmaps"],
    ),
    MySemSegHead: (
        "SEM_SEG_HEADS_REGISTRY",
        ["MODEL.SEM_SEG_HEAD.NAME", "MODEL.META_ARCHITECTURE", "PanopticFPN"],
        [*BOXES, "mask_probs", "sem_seg"],
    ),
    MyProposals: ("PROPOSAL_GENERATOR_REGISTRY", ["MODEL.PROPOSAL_GENERATOR.NAME"], [*BOXES, "mask_probs"]),
    MyROIHeads: ("ROI_HEADS_REGISTRY", ["MODEL.ROI_HEADS.NAME", "MODEL.MASK_ON", "False"], BOXES),
    MyNetwork: ("META_ARCH_REGISTRY", ["MODEL.META_ARCHITECTURE"], ["sem_seg"]),
}


@pytest.fixture
def registered() -> Iterator[None]:
    """The parts above, registered; afterwards the registries are as before."""
    before = {name: dict(kind._parts) for name, kind in REGISTRIES.items()}
    for part, (name, _, _) in CASES.items():
        REGISTRIES[name].register(part)
    yield
    for name, kind in REGISTRIES.items():
        kind._parts = before[name]


def build(part: type, folder: Path):
    _, (key, *rest), _ = CASES[part]
    (folder / "config.yaml").write_text(BASE)
    config = model_config(read_config(folder / "config.yaml", [key, part.__name__, *rest]))
    torch.manual_seed(0)
    return config, build_model(config)


@pytest.mark.parametrize("part", CASES, ids=lambda part: part.__name__)
@pytest.mark.usefixtures("registered")
def test_every_kind_of_part(part: type, tmp_path: Path) -> None:
    config, core = build(part, tmp_path)
    assert [tensor.name for tensor in model_spec(config, core).outputs] == CASES[part][2]
    traced_on = (torch.rand(2, 3, 64, 96) * 255, torch.tensor([[64, 96], [50, 60]]))
    ways = {
        "tracing": torch.jit.trace(swap(core), traced_on, check_trace=False, strict=False),
        "scripting": torch.jit.script(core),
    }
    for images, sizes in (traced_on, (torch.rand(3, 3, 96, 64) * 255, torch.tensor([[96, 64], [90, 33], [1, 1]]))):
        expected = core(images, sizes)
        assert len(expected) == len(CASES[part][2]) and all(len(tensor) for tensor in expected)
        for name, way in ways.items():
            for ours, theirs in zip(way(images, sizes), expected, strict=True):
                assert torch.allclose(ours, theirs, atol=1e-4), name


def swap(core: nn.Module) -> nn.Module:
    from d2deploy.backends.capture import swapped

    return swapped(core, dict.fromkeys(LEAVES, torch.jit.script))


def test_there_is_a_case_for_every_registry() -> None:
    elsewhere = {"BACKBONE_REGISTRY", "CONFIG_REGISTRY"}  # tests/test_registry.py
    assert {kind for kind, _, _ in CASES.values()} | elsewhere == set(REGISTRIES)


@pytest.mark.usefixtures("registered")
def test_a_network_that_names_no_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MyNetwork, "outputs", ())
    with pytest.raises(ConfigError, match="names its outputs"):
        build(MyNetwork, tmp_path)
