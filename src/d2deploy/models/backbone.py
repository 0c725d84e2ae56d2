"""Backbones: one table from schema to module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models import registered
from d2deploy.models.fpn import FPN
from d2deploy.models.hrfpn import HRFPN
from d2deploy.models.hrnet import HRNet
from d2deploy.models.mvit import MViT
from d2deploy.models.registered import ShapeSpec, make_part
from d2deploy.models.regnet import RegNet
from d2deploy.models.resnet import ResNet
from d2deploy.models.simple_feature_pyramid import SimpleFeaturePyramid
from d2deploy.models.swin import SwinTransformer
from d2deploy.models.vit import ViT
from d2deploy.registry import BACKBONE_REGISTRY


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


def _hrfpn(config: schema.HRFPN, in_channels: int) -> nn.Module:
    return HRFPN(config, HRNet(config.bottom_up, in_channels=in_channels))


def _resnet(config: schema.ResNet, in_channels: int) -> nn.Module:
    return ResNet(config, in_channels=in_channels)


def _regnet(config: schema.RegNet, in_channels: int) -> nn.Module:
    return RegNet(config, in_channels=in_channels)


def _simple_feature_pyramid(config: schema.SimpleFeaturePyramid, in_channels: int) -> nn.Module:
    return SimpleFeaturePyramid(config, build_backbone(config.net, in_channels=in_channels))


def _vit(config: schema.ViT, in_channels: int) -> nn.Module:
    return ViT(config, in_channels=in_channels)


def _swin(config: schema.SwinTransformer, in_channels: int) -> nn.Module:
    return SwinTransformer(config, in_channels=in_channels)


def _mvit(config: schema.MViT, in_channels: int) -> nn.Module:
    return MViT(config, in_channels=in_channels)


def _registered(config: schema.Registered, in_channels: int) -> nn.Module:
    module = make_part(BACKBONE_REGISTRY, config, ShapeSpec(channels=in_channels))
    if not isinstance(module, registered.Backbone):
        raise ConfigError(f"The backbone {config.name} is no d2deploy.modeling.Backbone. Make that its base class.")
    return module


BACKBONES: dict[type, Callable[[Any, int], nn.Module]] = {
    schema.FPN: _fpn,
    schema.HRFPN: _hrfpn,
    schema.MViT: _mvit,
    schema.Registered: _registered,
    schema.RegNet: _regnet,
    schema.ResNet: _resnet,
    schema.SimpleFeaturePyramid: _simple_feature_pyramid,
    schema.SwinTransformer: _swin,
    schema.ViT: _vit,
}


@dataclass(frozen=True)
class Levels:
    """Facts of a backbone's feature levels, by name, and how its input is padded."""

    channels: dict[str, int]
    strides: dict[str, int]  # input pixels per cell
    size_divisor: int
    square_size: int


def levels_of(backbone: Any) -> Levels:
    """The facts of one of our backbones, or of a user's own, which tells them as detectron2's do."""
    if not isinstance(backbone, registered.Backbone):
        return Levels(backbone.out_channels, backbone.out_strides, backbone.size_divisor, backbone.square_size)
    shapes, padding = backbone.output_shape(), backbone.padding_constraints
    return Levels(
        channels={name: shape.channels or 0 for name, shape in shapes.items()},
        strides={name: shape.stride or 0 for name, shape in shapes.items()},
        size_divisor=padding.get("size_divisibility", backbone.size_divisibility),
        square_size=padding.get("square_size", 0),
    )


def levels_with(backbone: Any, names: Sequence[str]) -> Levels:
    """levels_of, among them `names`. Raises ConfigError: the backbone has no such level."""
    levels = levels_of(backbone)
    if lacking := [name for name in names if name not in levels.channels]:
        raise ConfigError(
            f"The backbone has no level {', '.join(lacking)}; it has {', '.join(levels.channels)}. Change IN_FEATURES."
        )
    return levels


def level_facts(backbone: Any, names: Sequence[str]) -> dict[str, Any]:
    """Channels and strides of levels that one head reads. Raises ConfigError: no such level, or of different widths."""
    levels = levels_with(backbone, names)
    widths = {name: levels.channels[name] for name in names}
    if len(set(widths.values())) > 1:
        given = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ConfigError(f"IN_FEATURES names levels of different channels ({given}), which one head cannot read.")
    return {"channels": levels.channels[names[0]], "strides": [levels.strides[name] for name in names]}


def shapes_of(backbone: Any) -> dict[str, ShapeSpec]:
    """The feature levels as users' own parts are told them."""
    levels = levels_of(backbone)
    return {name: ShapeSpec(channels=levels.channels[name], stride=levels.strides[name]) for name in levels.channels}
