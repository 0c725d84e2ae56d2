"""DeepLab v3 and v3+: the heads that say a class for every pixel (detectron2 projects/DeepLab, semantic_seg.py)."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.aspp import ASPP, SeparableConv, resized
from d2deploy.models.backbone import Levels
from d2deploy.models.conv import Conv2d


class DeepLabV3Head(nn.Module):
    """ASPP on one feature level, then a class for each cell."""

    def __init__(self, config: schema.DeepLabV3Head, levels: Levels) -> None:
        super().__init__()
        self.in_feature = config.in_feature
        self.scale = float(config.common_stride)
        self.aspp = ASPP(
            config.aspp,
            in_channels=levels.channels[config.in_feature],
            stride=config.common_stride,  # not the level's, as in detectron2
            norm=config.norm,
            is_separable=config.use_depthwise_separable_conv,
        )
        self.predictor = nn.Conv2d(config.aspp.channels, config.num_classes, kernel_size=1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> logits[N,K,H,W]."""
        return enlarged(self.predictor(self.aspp(features[self.in_feature])), self.scale)


class DeepLabV3PlusHead(nn.Module):
    """Decoder, some layers where the config has them (Panoptic-DeepLab), then a class for each cell."""

    def __init__(self, config: schema.DeepLabV3PlusHead, levels: Levels) -> None:
        super().__init__()
        self.scale = float(config.decoder.common_stride)
        self.decoder = Decoder(config.decoder, levels)
        channels = self.decoder.out_channels
        self.head: nn.Module | None = None
        if config.head_channels:
            is_separable = config.decoder.use_depthwise_separable_conv
            widths = (channels, channels, config.head_channels)
            self.head = two_convs(widths, norm=config.decoder.norm, is_separable=is_separable)
            channels = config.head_channels
        self.predictor = nn.Conv2d(channels, config.num_classes, kernel_size=1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> logits[N,K,H,W]."""
        decoded = self.decoder(features)
        if self.head is not None:
            decoded = self.head(decoded)
        return enlarged(self.predictor(decoded), self.scale)


class Decoder(nn.Module):
    """ASPP on the coarsest feature level; finer levels join one after the other. Stages are named as their levels."""

    def __init__(self, config: schema.DeepLabDecoder, levels: Levels) -> None:
        super().__init__()
        chosen = [name for name in levels.strides if name in config.in_features]
        *finer, top = sorted(chosen, key=levels.strides.__getitem__)
        for i, name in enumerate(finer):
            below = config.aspp.channels if i == len(finer) - 1 else config.conv_dims
            self.add_module(name, _Join(config, levels.channels[name], config.project_channels[i], below))
        self.add_module(top, _Top(config, in_channels=levels.channels[top], stride=levels.strides[top]))
        self.top_name, self.finer_names = top, finer[::-1]
        self.tops, self.joins = Alias(self, [top]), Alias(self, self.finer_names)
        self.out_channels = config.conv_dims if finer else config.aspp.channels

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> [N,out_channels,H',W'], the size of the finest level."""
        decoded = self.tops[0](features[self.top_name])
        for i, join in enumerate(self.joins):
            decoded = join(features[self.finer_names[i]], decoded)
        return decoded


class _Top(nn.Module):
    def __init__(self, config: schema.DeepLabDecoder, *, in_channels: int, stride: int) -> None:
        super().__init__()
        self.project_conv = ASPP(
            config.aspp,
            in_channels=in_channels,
            stride=stride,
            norm=config.norm,
            is_separable=config.use_depthwise_separable_conv,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.project_conv(x)


class _Join(nn.Module):
    """A finer level, narrowed, beside what was decoded so far, enlarged to its size."""

    def __init__(self, config: schema.DeepLabDecoder, in_channels: int, project_channels: int, below: int) -> None:
        super().__init__()
        self.project_conv = Conv2d(in_channels, project_channels, kernel_size=1, norm=config.norm, relu=True)
        widths = (project_channels + below, config.conv_dims, config.conv_dims)
        self.fuse_conv = two_convs(widths, norm=config.norm, is_separable=config.use_depthwise_separable_conv)

    def forward(self, x: Tensor, decoded: Tensor) -> Tensor:
        """x[N,C,H,W], decoded[N,below,any] -> [N,conv_dims,H,W]."""
        projected = self.project_conv(x)
        return self.fuse_conv(torch.cat([projected, resized(decoded, like=projected)], dim=1))


def two_convs(widths: tuple[int, int, int], *, norm: str, is_separable: bool) -> nn.Module:
    """Two 3x3 convolutions from widths[0] over widths[1] to widths[2] channels, or one separable one of 5x5.

    Both see as far; the widths between are only the former's.
    """
    if is_separable:
        return SeparableConv(widths[0], widths[2], kernel_size=5, norm=norm)
    return nn.Sequential(
        Conv2d(widths[0], widths[1], kernel_size=3, norm=norm, relu=True),
        Conv2d(widths[1], widths[2], kernel_size=3, norm=norm, relu=True),
    )


def enlarged(x: Tensor, scale: float) -> Tensor:
    """x[N,C,H,W] -> [N,C,H*scale,W*scale], bilinear."""
    return nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
