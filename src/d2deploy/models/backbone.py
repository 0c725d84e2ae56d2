"""Backbones: one table from schema to module."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.fpn import FPN
from d2deploy.models.resnet import ResNet


class Backbone(Protocol):
    """What every backbone module has, beside being an nn.Module."""

    out_channels: dict[str, int]
    out_strides: dict[str, int]  # input pixels per cell
    size_divisor: int  # the input is padded to multiples of it; 0 or 1: as it comes
    square_size: int  # the input is padded to a square of this side; 0: it is not

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {level: [N,C,H/stride,W/stride]}."""


def build_backbone(config: schema.Backbone, *, in_channels: int) -> Any:
    """The module of `config`: a Backbone that takes images of `in_channels` channels."""
    return BACKBONES[type(config)](config, in_channels)


def _fpn(config: schema.FPN, in_channels: int) -> nn.Module:
    return FPN(config, build_backbone(config.bottom_up, in_channels=in_channels))


def _resnet(config: schema.ResNet, in_channels: int) -> nn.Module:
    return ResNet(config, in_channels=in_channels)


BACKBONES: dict[type, Callable[[Any, int], nn.Module]] = {
    schema.FPN: _fpn,
    schema.ResNet: _resnet,
}


def level_facts(backbone: Backbone, names: Sequence[str]) -> dict[str, Any]:
    """Channels and strides (input pixels per cell) of feature levels."""
    return {"channels": backbone.out_channels[names[0]], "strides": [backbone.out_strides[name] for name in names]}
