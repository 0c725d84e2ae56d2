"""ResNet 18 to 152 and ResNeXt: stem, res2..res5."""

import dataclasses
from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.deform_conv import DeformConv

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STAGES = ("res2", "res3", "res4", "res5")


class BasicStem(nn.Module):
    """7x7 convolution of stride 2, then 3x3 max pooling of stride 2."""

    def __init__(self, in_channels: int, out_channels: int, norm: str) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, out_channels, kernel_size=7, stride=2, norm=norm, bias=False, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,3,H,W] -> [N,C,H/4,W/4]."""
        return nn.functional.max_pool2d(self.conv1(x), kernel_size=3, stride=2, padding=1)


class DeepLabStem(nn.Module):
    """Three 3x3 convolutions, the first of stride 2, then 3x3 max pooling of stride 2 (projects/DeepLab/resnet.py)."""

    def __init__(self, in_channels: int, out_channels: int, norm: str) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = Conv2d(in_channels, half, kernel_size=3, stride=2, norm=norm, bias=False, relu=True)
        self.conv2 = Conv2d(half, half, kernel_size=3, norm=norm, bias=False, relu=True)
        self.conv3 = Conv2d(half, out_channels, kernel_size=3, norm=norm, bias=False, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,3,H,W] -> [N,C,H/4,W/4]."""
        x = self.conv3(self.conv2(self.conv1(x)))
        return nn.functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)


STEMS: dict[str, type[BasicStem] | type[DeepLabStem]] = {"basic": BasicStem, "deeplab": DeepLabStem}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet 18 and 34)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, norm=norm, bias=False, relu=True)
        self.conv2 = Conv2d(out_channels, out_channels, kernel_size=3, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,out_channels,H/stride,W/stride]."""
        out = self.conv2(self.conv1(x))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return nn.functional.relu_(out + x)


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet 50 and deeper).

    `stride_in_1x1` puts the stride into the first convolution (MSRA's weights) instead of the second. Both have the
    same parameter names, so a wrong value loads without a word and is wrong.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int,
        dilation: int,
        groups: int,
        norm: str,
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
        mid = bottleneck_channels
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = Conv2d(in_channels, mid, kernel_size=1, stride=stride1, norm=norm, bias=False, relu=True)
        self.conv2 = Conv2d(
            mid, mid, kernel_size=3, stride=stride2, dilation=dilation, groups=groups, norm=norm, bias=False, relu=True
        )
        self.conv3 = Conv2d(mid, out_channels, kernel_size=1, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,out_channels,H/stride,W/stride]."""
        out = self.conv3(self.conv2(self.conv1(x)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return nn.functional.relu_(out + x)


class DeformBottleneckBlock(nn.Module):
    """A bottleneck block with a deformable 3x3 convolution: `conv2_offset` says, from conv1's output, where it reads.

    Version 2 (`modulated`) has a third part of `conv2_offset`'s channels, the taps' weights before a sigmoid.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int,
        dilation: int,
        groups: int,
        norm: str,
        stride_in_1x1: bool,
        modulated: bool,
        deform_groups: int,
    ) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
        mid = bottleneck_channels
        self.modulated = modulated
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = Conv2d(in_channels, mid, kernel_size=1, stride=stride1, norm=norm, bias=False, relu=True)
        taps = (27 if modulated else 18) * deform_groups
        self.conv2_offset = Conv2d(mid, taps, kernel_size=3, stride=stride2, dilation=dilation)
        self.conv2 = DeformConv(
            mid, stride=stride2, dilation=dilation, groups=groups, deform_groups=deform_groups, norm=norm
        )
        self.conv3 = Conv2d(mid, out_channels, kernel_size=1, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,out_channels,H/stride,W/stride]."""
        hidden = self.conv1(x)
        offset = self.conv2_offset(hidden)
        mask: Tensor | None = None
        if self.modulated:
            taps = offset.shape[1] // 3 * 2
            mask = offset[:, taps:].sigmoid()
            offset = offset[:, :taps]
        out = self.conv3(self.conv2(hidden, offset, mask))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return nn.functional.relu_(out + x)


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: str) -> Conv2d | None:
    if in_channels == out_channels:
        return None
    return Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, norm=norm, bias=False)


class ResNet(nn.Module):
    """The backbone; gives the stages named in `out_features`."""

    def __init__(self, config: schema.ResNet, *, in_channels: int) -> None:
        super().__init__()
        self.out_features = list(config.out_features)
        wanted = [STAGES.index(name) for name in self.out_features if name != "stem"]
        self.stage_names = list(STAGES[: max(wanted, default=-1) + 1])
        self.stem = STEMS[config.stem_type](in_channels, config.stem_out_channels, _norm(config, stage=1))
        channels, stride = config.stem_out_channels, 4
        levels = {"stem": (channels, stride)}
        for number, name in enumerate(self.stage_names, start=2):
            first_stride = 1 if number == 2 or _dilation(config, number) > 1 else 2
            stage = _stage(config, number, channels, first_stride)
            self.add_module(name, stage)
            channels, stride = config.res2_out_channels * 2 ** (number - 2), stride * first_stride
            levels[name] = channels, stride
        self.stages = Alias(self, self.stage_names)
        self.out_channels = {name: levels[name][0] for name in self.out_features}
        self.out_strides = {name: levels[name][1] for name in self.out_features}
        self.size_divisor = 1  # detectron2 pads for a pyramid only
        self.square_size = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x[N,3,H,W] -> {stage: [N,C,H/stride,W/stride]}."""
        features: dict[str, Tensor] = {}
        x = self.stem(x)
        if "stem" in self.out_features:
            features["stem"] = x
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if self.stage_names[i] in self.out_features:
                features[self.stage_names[i]] = x
        return features


def res5_of_boxes(config: schema.ResNet, *, in_channels: int) -> nn.Sequential:
    """res5 as the box head of a C4 model: on pooled features, never frozen, never dilated."""
    plain = dataclasses.replace(config, freeze_at=0, res5_dilation=1, res5_multi_grid=(1, 1, 1), trident_stage="")
    return _stage(plain, 5, in_channels, first_stride=2)


def _norm(config: schema.ResNet, *, stage: int) -> str:
    """Stages that training froze have FrozenBN for BN (detectron2 ResNet.freeze); the stem is stage 1.

    Not for SyncBN: detectron2's own mask_rcnn_R_50_FPN_3x_syncbn keeps its num_batches_tracked in frozen stages.
    """
    is_frozen = stage <= config.freeze_at and config.norm == "BN"
    return "FrozenBN" if is_frozen else config.norm


def _stage(config: schema.ResNet, number: int, in_channels: int, first_stride: int) -> nn.Sequential:
    """res<number>: its first block changes size and channels. Widths double from stage to stage."""
    if config.depth not in BLOCKS:
        raise ConfigError(f"MODEL.RESNETS.DEPTH {config.depth} is not one of {', '.join(map(str, BLOCKS))}.")
    out_channels = config.res2_out_channels * 2 ** (number - 2)
    norm = _norm(config, stage=number)
    blocks: list[nn.Module] = []
    for index in range(BLOCKS[config.depth][number - 2]):
        stride = first_stride if index == 0 else 1
        if config.depth < 50:
            blocks.append(BasicBlock(in_channels, out_channels, stride=stride, norm=norm))
        else:
            dilation = _block_dilation(config, number, index)
            block = _bottleneck(config, number, in_channels, out_channels, stride=stride, dilation=dilation)
            blocks.append(block)
        in_channels = out_channels
    return nn.Sequential(*blocks)


def _dilation(config: schema.ResNet, number: int) -> int:
    """The dilation of res<number>; above 1 it stands for the stride."""
    return {4: config.res4_dilation, 5: config.res5_dilation}.get(number, 1)


def _block_dilation(config: schema.ResNet, number: int, index: int) -> int:
    """The dilation of block `index` of res<number>.

    A stage of TridentNet has one branch's, whatever else the stage's would be, and strides as without it (projects/
    TridentNet/tridentnet/trident_backbone.py). The branches share their weights, which have a plain block's names.
    """
    if STAGES[number - 2] == config.trident_stage:
        return config.trident_dilation
    return _dilation(config, number) * (config.res5_multi_grid[index] if number == 5 else 1)


def _bottleneck(
    config: schema.ResNet, number: int, in_channels: int, out_channels: int, *, stride: int, dilation: int
) -> BottleneckBlock | DeformBottleneckBlock:
    """One block of res<number>."""
    facts: dict[str, Any] = {
        "bottleneck_channels": config.num_groups * config.width_per_group * 2 ** (number - 2),
        "stride": stride,
        "dilation": dilation,
        "groups": config.num_groups,
        "norm": _norm(config, stage=number),
        "stride_in_1x1": config.stride_in_1x1,
    }
    if not config.deform_on_per_stage[number - 2]:
        return BottleneckBlock(in_channels, out_channels, **facts)
    return DeformBottleneckBlock(
        in_channels,
        out_channels,
        **facts,
        modulated=config.deform_modulated,
        deform_groups=config.deform_num_groups,
    )
