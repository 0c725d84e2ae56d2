"""RegNet X and Y (detectron2 backbone/regnet.py, after pycls): a stem and stages of alike blocks, s1, s2, ...

The norm of the convolution `a` is called `a_bn` and stands beside it: BESIDE says so of each.
"""

from collections.abc import Callable

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.norm import make_norm

# Convolution -> the norm after it, wherever a module of this file has both. Exports merge them.
BESIDE = {"conv": "bn", "proj": "bn", "a": "a_bn", "b": "b_bn", "c": "c_bn"}


def _conv(before: int, after: int, size: int, *, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, groups=groups, bias=bias)


class SimpleStem(nn.Module):
    """A 3x3 convolution of stride 2."""

    norm_beside = BESIDE
    stride = 2

    def __init__(self, in_channels: int, out_channels: int, *, norm: str) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels, 3, stride=2)
        self.bn = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,3,H,W] -> [N,C,H/2,W/2]."""
        assert self.bn is not None
        return nn.functional.relu_(self.bn(self.conv(x)))


class ResStem(nn.Module):
    """A 7x7 convolution of stride 2, then 3x3 max pooling of stride 2."""

    norm_beside = BESIDE
    stride = 4

    def __init__(self, in_channels: int, out_channels: int, *, norm: str) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels, 7, stride=2)
        self.bn = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,3,H,W] -> [N,C,H/4,W/4]."""
        assert self.bn is not None
        return nn.functional.max_pool2d(nn.functional.relu_(self.bn(self.conv(x))), kernel_size=3, stride=2, padding=1)


class SE(nn.Module):
    """Squeeze-and-excitation: each channel times a weight that the mean of all channels gives."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.f_ex = nn.Sequential(
            _conv(channels, inside, 1, bias=True), nn.ReLU(), _conv(inside, channels, 1, bias=True), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        return x * self.f_ex(x.mean(dim=[2, 3], keepdim=True))


class TwoConvs(nn.Module):
    """3x3 convolution, ReLU, 3x3 convolution, each with its norm; VanillaBlock has another ReLU after them."""

    norm_beside = BESIDE

    def __init__(self, before: int, after: int, *, stride: int, norm: str, ends_in_relu: bool) -> None:
        super().__init__()
        self.a = _conv(before, after, 3, stride=stride)
        self.a_bn = make_norm(norm, after)
        self.b = _conv(after, after, 3)
        self.b_bn = make_norm(norm, after)
        self.ends_in_relu = ends_in_relu

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,after,H/stride,W/stride]."""
        assert self.a_bn is not None and self.b_bn is not None
        x = self.b_bn(self.b(nn.functional.relu_(self.a_bn(self.a(x)))))
        return nn.functional.relu_(x) if self.ends_in_relu else x


class BottleneckTransform(nn.Module):
    """1x1, grouped 3x3 with squeeze-and-excitation in RegNet Y, 1x1."""

    norm_beside = BESIDE

    def __init__(
        self, before: int, after: int, *, inside: int, groups: int, se_channels: int, stride: int, norm: str
    ) -> None:
        super().__init__()
        self.a = _conv(before, inside, 1)
        self.a_bn = make_norm(norm, inside)
        self.b = _conv(inside, inside, 3, stride=stride, groups=groups)
        self.b_bn = make_norm(norm, inside)
        self.se = SE(inside, se_channels) if se_channels else None
        self.c = _conv(inside, after, 1)
        self.c_bn = make_norm(norm, after)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,after,H/stride,W/stride]."""
        assert self.a_bn is not None and self.b_bn is not None and self.c_bn is not None
        x = nn.functional.relu_(self.a_bn(self.a(x)))
        x = nn.functional.relu_(self.b_bn(self.b(x)))
        if self.se is not None:
            x = self.se(x)
        return self.c_bn(self.c(x))


class ResBlock(nn.Module):
    """A shortcut around `f`, with a convolution in it where the size or the channels change."""

    norm_beside = BESIDE

    def __init__(self, before: int, after: int, *, stride: int, norm: str, f: nn.Module) -> None:
        super().__init__()
        is_plain = before == after and stride == 1
        self.proj = None if is_plain else _conv(before, after, 1, stride=stride)
        self.bn = None if is_plain else make_norm(norm, after)
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,after,H/stride,W/stride]."""
        side = x
        if self.proj is not None and self.bn is not None:
            side = self.bn(self.proj(x))
        return nn.functional.relu_(side + self.f(x))


class RegNet(nn.Module):
    """The backbone; gives the stages named in `out_features`."""

    def __init__(self, config: schema.RegNet, *, in_channels: int) -> None:
        super().__init__()
        self.out_features = list(config.out_features)
        self.stage_names = [f"s{number}" for number in range(1, len(config.depths) + 1)]
        self.stem = STEMS[config.stem](in_channels, config.stem_width, norm=_norm(config, stage=1))
        channels, stride = config.stem_width, self.stem.stride
        levels = {"stem": (channels, stride)}
        for index, name in enumerate(self.stage_names):
            self.add_module(name, _stage(config, index, channels))
            channels, stride = config.widths[index], stride * config.strides[index]
            levels[name] = (channels, stride)
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


def _norm(config: schema.RegNet, *, stage: int) -> str:
    """Stages that training froze have FrozenBN for BN, as in a ResNet."""
    return "FrozenBN" if stage <= config.freeze_at and config.norm == "BN" else config.norm


def _stage(config: schema.RegNet, index: int, channels: int) -> nn.Sequential:
    """Blocks b1, b2, ...; the first one changes size and channels."""
    stage = nn.Sequential()
    for number in range(config.depths[index]):
        stride = config.strides[index] if number == 0 else 1
        stage.add_module(f"b{number + 1}", BLOCKS[config.block](config, index, channels, stride))
        channels = config.widths[index]
    return stage


def _bottleneck(config: schema.RegNet, index: int, before: int, stride: int) -> nn.Module:
    after, norm = config.widths[index], _norm(config, stage=index + 2)
    inside = round(after * config.bottleneck_ratios[index])
    f = BottleneckTransform(
        before,
        after,
        inside=inside,
        groups=inside // config.group_widths[index],
        se_channels=round(before * config.se_ratio),
        stride=stride,
        norm=norm,
    )
    return ResBlock(before, after, stride=stride, norm=norm, f=f)


def _basic(config: schema.RegNet, index: int, before: int, stride: int) -> nn.Module:
    after, norm = config.widths[index], _norm(config, stage=index + 2)
    f = TwoConvs(before, after, stride=stride, norm=norm, ends_in_relu=False)
    return ResBlock(before, after, stride=stride, norm=norm, f=f)


def _vanilla(config: schema.RegNet, index: int, before: int, stride: int) -> nn.Module:
    norm = _norm(config, stage=index + 2)
    return TwoConvs(before, config.widths[index], stride=stride, norm=norm, ends_in_relu=True)


STEMS: dict[str, type[SimpleStem] | type[ResStem]] = {"SimpleStem": SimpleStem, "ResStem": ResStem}
BLOCKS: dict[str, Callable[[schema.RegNet, int, int, int], nn.Module]] = {
    "ResBottleneckBlock": _bottleneck,
    "ResBasicBlock": _basic,
    "VanillaBlock": _vanilla,
}
