"""ViTDet's pyramid: every level made of the one map of a plain backbone, by itself."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.fpn import TOP_BLOCKS
from d2deploy.models.norm import make_norm


class SimpleFeaturePyramid(nn.Module):
    """Levels are named by their stride, as FPN's: twice a map of stride 16 is p3 (detectron2 vit.py)."""

    def __init__(self, config: schema.SimpleFeaturePyramid, net: Any) -> None:
        super().__init__()
        self.net = net
        self.in_feature = config.in_feature
        channels, stride = net.out_channels[config.in_feature], net.out_strides[config.in_feature]
        levels = [int(stride / scale).bit_length() - 1 for scale in config.scale_factors]
        for level, scale in zip(levels, config.scale_factors, strict=True):
            self.add_module(f"simfp_{level}", _level(config, channels, scale))
        self.levels = Alias(self, [f"simfp_{level}" for level in levels])
        self.names = [f"p{level}" for level in levels]
        self.top_in_feature = config.top_in_feature or self.names[-1]
        self.top_block: nn.Module | None = None
        self.top_names: list[str] = []
        if config.top_block:
            every = {**dict.fromkeys(self.names, config.out_channels), **net.out_channels}
            top = TOP_BLOCKS[config.top_block](every[self.top_in_feature], config.out_channels)
            self.top_block = top
            self.top_names = [f"p{levels[-1] + 1 + i}" for i in range(top.num_levels)]
        self.out_channels = dict.fromkeys(self.names + self.top_names, config.out_channels)
        self.out_strides = {name: 2 ** int(name[1:]) for name in self.out_channels}
        # detectron2's pyramid misspells the key under which it gives its divisor: nothing pads to a multiple of it.
        self.size_divisor, self.square_size = 1, config.square_size

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {level: [N,C,H/stride,W/stride]}."""
        net = self.net(images)
        features: dict[str, Tensor] = {}
        for i, level in enumerate(self.levels):
            features[self.names[i]] = level(net[self.in_feature])
        if self.top_block is not None:
            name = self.top_in_feature
            for i, extra in enumerate(self.top_block(net[name] if name in net else features[name])):
                features[self.top_names[i]] = extra
        return features


def _level(config: schema.SimpleFeaturePyramid, channels: int, scale: float) -> nn.Sequential:
    """The map in another size, then a 1x1 and a 3x3 convolution."""
    if scale not in SCALES:
        raise ConfigError(f"SimpleFeaturePyramid's scale factor {scale} is not one of {', '.join(map(str, SCALES))}.")
    return nn.Sequential(
        *SCALES[scale](channels, config.norm),
        Conv2d(channels // max(int(scale), 1), config.out_channels, kernel_size=1, norm=config.norm),
        Conv2d(config.out_channels, config.out_channels, kernel_size=3, norm=config.norm),
    )


def _quadrupled(channels: int, norm: str) -> list[nn.Module]:
    half = channels // 2
    return [_upsample(channels, half), make_norm(norm, half) or nn.Identity(), nn.GELU(), _upsample(half, half // 2)]


def _doubled(channels: int, norm: str) -> list[nn.Module]:
    return [_upsample(channels, channels // 2)]


def _same(channels: int, norm: str) -> list[nn.Module]:
    return []


def _halved(channels: int, norm: str) -> list[nn.Module]:
    return [nn.MaxPool2d(kernel_size=2, stride=2)]


def _upsample(channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, out_channels, kernel_size=2, stride=2)


# Scale factor -> the layers that bring a map to it.
SCALES: dict[float, Callable[[int, str], list[nn.Module]]] = {4.0: _quadrupled, 2.0: _doubled, 1.0: _same, 0.5: _halved}
