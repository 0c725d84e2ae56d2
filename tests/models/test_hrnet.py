"""HRNet and its pyramid against their definition, written out with torch.nn.functional alone, key by key."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from d2deploy.config.model import read_model_config
from d2deploy.models.backbone import build_backbone
from d2deploy.models.build import build_model

NAME = "COCO-Detection/faster_rcnn_R_50_FPN_1x"
# (modules, block, blocks, channels) of stage 2 to 4
Stages = tuple[tuple[int, str, list[int], list[int]], ...]
PLAIN: Stages = (
    (1, "BASIC", [1, 2], [4, 6]),
    (2, "BASIC", [1, 1, 2], [4, 6, 8]),
    (1, "BASIC", [1, 1, 1, 1], [4, 6, 8, 10]),
)
NETWORKS: dict[str, tuple[Stages, int]] = {  # and how many levels
    "plain": (PLAIN, 5),
    "bottlenecks, whose coarsest branch changes": (
        (
            (2, "BOTTLENECK", [1, 1], [1, 3]),
            (1, "BOTTLENECK", [1, 1, 1], [1, 2, 3]),
            (1, "BASIC", [1] * 4, [4, 8, 9, 5]),
        ),
        4,
    ),
    "two branches more at once, then fewer": (
        ((1, "BASIC", [1] * 3, [4, 5, 6]), (1, "BASIC", [1] * 5, [4, 5, 6, 7, 8]), (1, "BASIC", [1] * 2, [4, 5])),
        3,
    ),
    "one branch": (((1, "BASIC", [1], [256]), (1, "BASIC", [1], [4]), (1, "BASIC", [2], [4])), 1),
}
SIZES = [(65, 65), (66, 129), (97, 191), (128, 96)]


def backbone_of(stages: Stages, levels: int) -> Any:
    """The backbone with random weights, in float64."""
    config = read_model_config(NAME, overrides_of(stages, levels))
    assert config.backbone is not None
    torch.manual_seed(3)
    backbone = build_backbone(config.backbone, in_channels=3).double().eval().requires_grad_(False)
    for tensor in backbone.state_dict().values():
        if tensor.dim() == 4:
            tensor.copy_(torch.randn_like(tensor) * (1 / tensor[0].numel()) ** 0.5)
        elif tensor.dim() == 1:
            tensor.copy_(torch.rand_like(tensor) / 2 + 0.75)
    return backbone


def overrides_of(stages: Stages, levels: int) -> list[str]:
    names = [f"p{level + 1}" for level in range(levels)]
    keys: dict[str, object] = {
        "MODEL.BACKBONE.NAME": "build_hrfpn_backbone",
        "MODEL.HRNET.HRFPN.OUT_CHANNELS": 5,
        "MODEL.RPN.IN_FEATURES": names,
        "MODEL.ROI_HEADS.IN_FEATURES": names,
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32]],
    }
    for number, (modules, block, blocks, channels) in enumerate(stages, start=2):
        stage = f"MODEL.HRNET.STAGE{number}"
        keys |= {f"{stage}.NUM_MODULES": modules, f"{stage}.NUM_BRANCHES": len(blocks), f"{stage}.BLOCK": block}
        keys |= {f"{stage}.NUM_BLOCKS": blocks, f"{stage}.NUM_CHANNELS": channels}
    return [text for key, value in keys.items() for text in (key, str(value))]


class Definition:
    """What detectron2 computes of a state dict; notes which weights it read."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights, self.read = weights, set[str]()

    def weight(self, name: str) -> Tensor:
        self.read.add(name)
        return self.weights[name]

    def has(self, prefix: str) -> bool:
        return any(key.startswith(f"{prefix}.") for key in self.weights)

    def conv(self, x: Tensor, name: str, *, size: int, stride: int = 1) -> Tensor:
        weight = self.weight(f"{name}.weight")
        assert weight.shape[2:] == (size, size)
        return functional.conv2d(x, weight, stride=stride, padding=size // 2)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            self.weight(f"{name}.{part}")[:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def pair(self, x: Tensor, name: str, *, size: int, stride: int = 1) -> Tensor:
        """A convolution and its norm, as the checkpoint numbers them."""
        return self.norm(self.conv(x, f"{name}.0", size=size, stride=stride), f"{name}.1")

    def block(self, x: Tensor, name: str, sizes: tuple[int, ...]) -> Tensor:
        out = x
        for number, size in enumerate(sizes, start=1):
            out = self.norm(self.conv(out.relu(), f"{name}.conv{number}", size=size), f"{name}.bn{number}")
        return (out + (self.pair(x, f"{name}.downsample", size=1) if self.has(f"{name}.downsample") else x)).relu()

    def stage(self, x: list[Tensor], name: str, of: tuple[int, str, list[int], list[int]]) -> list[Tensor]:
        modules, block, blocks, _ = of
        for module in range(modules):
            for i, count in enumerate(blocks):
                for number in range(count):
                    prefix = f"{name}.{module}.branches.{i}.{number}"
                    x[i] = self.block(x[i], prefix, (3, 3) if block == "BASIC" else (1, 3, 1))
            x = [self.fused(x, f"{name}.{module}.fuse_layers.{i}", i) for i in range(len(x))]
        return x

    def fused(self, x: list[Tensor], name: str, target: int) -> Tensor:
        total = torch.zeros_like(x[target])
        for source, branch in enumerate(x):
            part = branch
            for step in range(target - source):
                part = self.pair(part, f"{name}.{source}.{step}", size=3, stride=2)
                part = part.relu() if step < target - source - 1 else part
            if source > target:
                factor = 2 ** (source - target)
                part = self.pair(part, f"{name}.{source}", size=1)
                part = part.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            total += part[:, :, : total.shape[2], : total.shape[3]]
        return total.relu()

    def transition(self, x: list[Tensor], name: str, count: int) -> list[Tensor]:
        made = []
        for i in range(count):
            if i >= len(x):
                branch = x[-1]
                for step in range(i + 1 - len(x)):
                    branch = self.pair(branch, f"{name}.{i}.{step}", size=3, stride=2).relu()
            else:
                branch = self.pair(x[-1], f"{name}.{i}", size=3).relu() if self.has(f"{name}.{i}") else x[i]
            made.append(branch)
        return made

    def pyramid(self, images: Tensor, stages: Stages, levels: int) -> dict[str, Tensor]:
        x, up = images, "bottom_up"
        for number in (1, 2):
            x = self.norm(self.conv(x, f"{up}.conv{number}", size=3, stride=2), f"{up}.bn{number}").relu()
        for number in range(4):
            x = self.block(x, f"{up}.layer1.{number}", (1, 3, 1))
        branches = [x]
        for number, stage in enumerate(stages, start=2):
            branches = self.transition(branches, f"{up}.transition{number - 1}", len(stage[2]))
            branches = self.stage(branches, f"{up}.stage{number}", stage)
        return self.reduced(branches, levels)

    def reduced(self, branches: list[Tensor], levels: int) -> dict[str, Tensor]:
        large = []
        for i, branch in enumerate(branches):
            kernel = self.weight(f"interp_conv.{i}.0.weight")
            large.append(
                self.norm(functional.conv_transpose2d(branch, kernel, stride=2**i), f"interp_conv.{i}.1").relu()
            )
        height, width = (min(part.shape[axis] for part in large) for axis in (2, 3))
        joined = torch.cat([part[:, :, :height, :width] for part in large], dim=1)
        made = []
        for i in range(levels):
            name = f"reduction_pooling_conv.{i}"
            bias = self.weight(f"{name}.0.bias")
            reduced = functional.conv2d(joined, self.weight(f"{name}.0.weight"), bias, stride=2**i)
            made.append(self.norm(reduced, f"{name}.1").relu())
        rows, columns = made[-1].shape[2:]
        found = {}
        for i, level in enumerate(made):
            cut = level[:, :, : rows * 2 ** (levels - 1 - i), : columns * 2 ** (levels - 1 - i)]
            weight, bias = self.weight(f"fpn_conv.{i}.weight"), self.weight(f"fpn_conv.{i}.bias")
            found[f"p{i + 1}"] = functional.conv2d(cut, weight, bias, padding=1)
        return found


def check_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, level in expected.items():
        assert level.shape == found[name].shape and 0 < level.abs().max() < 1e6
        assert (found[name] - level).abs().max() <= 1e-9 * level.abs().max(), name


@pytest.mark.parametrize("name", NETWORKS)
def test_the_levels_are_those_of_the_definition(name: str) -> None:
    stages, levels = NETWORKS[name]
    backbone = backbone_of(stages, levels)
    definition = Definition(backbone.state_dict())
    for size in SIZES:
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        check_same(backbone(images), definition.pyramid(images, stages, levels))
    assert definition.read == {key for key in backbone.state_dict() if "num_batches_tracked" not in key}
    assert backbone.out_strides == {f"p{level + 1}": 4 * 2**level for level in range(levels)}


def test_an_image_that_detectron2_cannot_do_is_padded_to_the_smallest_that_it_can() -> None:
    backbone = backbone_of(PLAIN, 5)
    definition = Definition(backbone.state_dict())
    for height, width in ((1, 1), (64, 200), (200, 64), (33, 64)):
        images = torch.randn(1, 3, height, width, dtype=torch.float64)
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            definition.pyramid(images, PLAIN, 5)
        padded = functional.pad(images, [0, max(65 - width, 0), 0, max(65 - height, 0)])
        check_same(backbone(images), definition.pyramid(padded, PLAIN, 5))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_is_padded_that_detectron2_can_do(name: str) -> None:
    stages, levels = NETWORKS[name]
    backbone = backbone_of(stages, levels)
    definition, least = Definition(backbone.state_dict()), backbone.pad_to_least.least
    check_same(
        backbone(images := torch.randn(1, 3, least, least + 1, dtype=torch.float64)),
        definition.pyramid(images, stages, levels),
    )
    if least > 1:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            definition.pyramid(images[:, :, : least - 1], stages, levels)


def official(*channels: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the official network with branches of so many channels (config.py; w32 and w40 there)."""
    overrides = overrides_of(
        tuple((n, "BASIC", [4] * (i + 2), list(channels[: i + 2])) for i, n in enumerate((1, 4, 3))), 5
    )
    with torch.device("meta"):
        core = build_model(read_model_config(NAME, [*overrides, "MODEL.HRNET.HRFPN.OUT_CHANNELS", "256"]))
    return {key: tuple(tensor.shape) for key, tensor in core.state_dict().items()}


def test_the_names_and_shapes_of_the_official_networks() -> None:
    w32 = [key for key in official(32, 64, 128, 256) if key.startswith("backbone.")]
    # Convolutions with a norm: stem, stage 1, transitions; blocks and fusing of 1, 4 and 3 modules. Six tensors each.
    pairs = 2 + 13 + (2 + 1 + 1) + 1 * (16 + 2) + 4 * (24 + 7) + 3 * (32 + 16)
    assert len(w32) == 6 * (pairs + 4) + 7 * 5 + 2 * 5 == 1899
    w40 = official(40, 80, 160, 320)
    expected = {
        "bottom_up.conv2.weight": (64, 64, 3, 3),
        "bottom_up.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "bottom_up.layer1.3.conv1.weight": (64, 256, 1, 1),
        "bottom_up.transition1.0.0.weight": (40, 256, 3, 3),
        "bottom_up.transition1.1.0.0.weight": (80, 256, 3, 3),
        "bottom_up.transition3.3.0.1.running_mean": (320,),
        "bottom_up.stage2.0.fuse_layers.0.1.0.weight": (40, 80, 1, 1),
        "bottom_up.stage3.3.branches.2.3.bn2.bias": (160,),
        "bottom_up.stage4.2.fuse_layers.3.0.1.0.weight": (40, 40, 3, 3),
        "bottom_up.stage4.2.fuse_layers.3.0.2.0.weight": (320, 40, 3, 3),
        "interp_conv.3.0.weight": (320, 320, 4, 4),
        "reduction_pooling_conv.4.0.weight": (256, 600, 16, 16),
        "reduction_pooling_conv.4.1.weight": (256,),
        "fpn_conv.4.bias": (256,),
    }
    assert {key: w40.get(f"backbone.{key}") for key in expected} == expected
    assert not [
        key for key in w40 if key.startswith(("backbone.bottom_up.transition2.0", "backbone.bottom_up.transition3.2"))
    ]
