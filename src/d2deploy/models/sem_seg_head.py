"""Semantic heads: feature levels to a class score for every pixel of the network's input."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.alias import Alias
from d2deploy.models.backbone import levels_of, levels_with, shapes_of
from d2deploy.models.conv import Conv2d
from d2deploy.models.deeplab import DeepLabV3Head, DeepLabV3PlusHead
from d2deploy.models.point_rend.sem_seg_head import PointRendSemSegHead
from d2deploy.models.registered import FirstOfPair, make_part
from d2deploy.registry import SEM_SEG_HEADS_REGISTRY


class SemSegFPNHead(nn.Module):
    """The semantic branch of Panoptic FPN (detectron2 semantic_seg.py; Kirillov et al. 2019, figure 3).

    Each level is brought to the common stride by steps of convolution, norm, ReLU and doubling; a level that is there
    already gets one convolution. Their sum gives the classes, which are enlarged to input pixels.
    """

    def __init__(
        self,
        config: schema.SemSegFPNHead,
        *,
        channels: dict[str, int],
        strides: dict[str, int],
        scale: int | None = None,  # by which the sum is enlarged; None: to input pixels
    ) -> None:
        super().__init__()
        self.in_features = sorted(config.in_features, key=strides.__getitem__)
        self.scale = config.common_stride if scale is None else scale
        for name in self.in_features:
            self.add_module(name, _branch(config, channels[name], strides[name]))
        self.branches = Alias(self, self.in_features)
        self.predictor = nn.Conv2d(config.conv_dims, config.num_classes, kernel_size=1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> logits [N,classes,H,W]; see `scale`."""
        logits = self.layers(features)
        if self.scale == 1:
            return logits
        return nn.functional.interpolate(logits, scale_factor=float(self.scale), mode="bilinear", align_corners=False)

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> logits [N,classes,H/common_stride,W/common_stride]."""
        merged: list[Tensor] = []
        for i, branch in enumerate(self.branches):
            level = branch(features[self.in_features[i]])
            merged = [merged[0] + level] if len(merged) > 0 else [level]
        logits: Tensor = self.predictor(merged[0])
        return logits


def _branch(config: schema.SemSegFPNHead, channels: int, stride: int) -> nn.Sequential:
    doublings = (stride // config.common_stride).bit_length() - 1
    layers: list[nn.Module] = []
    for i in range(max(1, doublings)):
        into = channels if i == 0 else config.conv_dims
        layers.append(Conv2d(into, config.conv_dims, kernel_size=3, norm=config.norm, relu=True))
        if doublings:
            layers.append(nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)


def _fpn_head(config: schema.SemSegFPNHead, backbone: Any) -> SemSegFPNHead:
    levels = levels_of(backbone)
    _check(config, levels.strides, padding=levels.square_size or levels.size_divisor)
    return SemSegFPNHead(config, channels=levels.channels, strides=levels.strides)


def _check(config: schema.SemSegFPNHead, strides: dict[str, int], *, padding: int) -> None:
    """Raises ConfigError where detectron2's head would fail, at once or on most images."""
    if lacking := [name for name in config.in_features if name not in strides]:
        raise ConfigError(
            f"The backbone has no level {', '.join(lacking)}; it has {', '.join(strides)}. "
            f"Change MODEL.SEM_SEG_HEAD.IN_FEATURES."
        )
    check_doublings(
        "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", config.common_stride, [(n, strides[n]) for n in config.in_features]
    )
    largest = max(strides[name] for name in config.in_features)
    if len(config.in_features) > 1 and (padding == 0 or padding % largest):
        raise ConfigError(
            f"The levels {', '.join(config.in_features)} cannot be added for every image size: the backbone pads its "
            f"input to multiples of {max(padding, 1)}. Use an FPN backbone, or one level in SEM_SEG_HEAD.IN_FEATURES."
        )


def check_doublings(key: str, common: int, strides: Iterable[tuple[str, int]]) -> None:
    """Raises ConfigError, which names `key`, where doubling does not bring a level from its stride to `common`."""
    for name, stride in strides:
        steps, rest = divmod(stride, common)
        if rest or steps & (steps - 1):
            raise ConfigError(
                f"{key} is {common}, and level {name} has stride {stride}, which is not {common}, {common * 2}, "
                f"{common * 4} ... Choose a smaller stride, or other IN_FEATURES."
            )


def _deeplab_v3_head(config: schema.DeepLabV3Head, backbone: Any) -> DeepLabV3Head:
    return DeepLabV3Head(config, levels_with(backbone, [config.in_feature]))


def _deeplab_v3_plus_head(config: schema.DeepLabV3PlusHead, backbone: Any) -> DeepLabV3PlusHead:
    return DeepLabV3PlusHead(config, levels_with(backbone, config.decoder.in_features))


def _registered_head(config: schema.RegisteredSemSegHead, backbone: Any) -> nn.Module:
    part: nn.Module = make_part(SEM_SEG_HEADS_REGISTRY, config.part, shapes_of(backbone))
    return part


def _point_rend_head(config: schema.PointRendSemSegHead, backbone: Any) -> PointRendSemSegHead:
    levels = levels_with(backbone, config.point.in_features)
    return PointRendSemSegHead(config, coarse=_fpn_head(config.coarse, backbone), channels=levels.channels)


SEM_SEG_HEADS: dict[type, Callable[[Any, Any], nn.Module]] = {
    schema.DeepLabV3Head: _deeplab_v3_head,
    schema.DeepLabV3PlusHead: _deeplab_v3_plus_head,
    schema.PointRendSemSegHead: _point_rend_head,
    schema.RegisteredSemSegHead: _registered_head,
    schema.SemSegFPNHead: _fpn_head,
}
"""Head of the config -> how it is built on a backbone. A head: forward(features) -> logits [N,C,H,W], input pixels."""


def build_sem_seg_head(config: Any, backbone: Any) -> nn.Module:
    """The semantic head of `config` on the levels of `backbone`. Raises ConfigError: levels that it cannot use."""
    return SEM_SEG_HEADS[type(config)](config, backbone)


def logits_reader(config: Any) -> nn.Module:
    """What takes the logits out of the head's answer: a user's own gives them as detectron2's do, beside losses."""
    return FirstOfPair() if isinstance(config, schema.RegisteredSemSegHead) else nn.Identity()
