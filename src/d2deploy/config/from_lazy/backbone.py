"""Backbones of a LazyConfig -> schema, and which feature levels they give.

To add one: a function in a file of your own that takes the arguments of the call and gives a Given, and a row in
BACKBONES, by the target's short name (config/lazy/targets.py has those):

    def my_net(call: Arguments, in_channels: int) -> Given:
        config = schema.MyNet(depth=call.whole("depth", 50), norm=call.norm("norm", "BN"))
        call.ignore("drop_path_rate")  # training only, by name; whatever else is left is refused
        return Given(config, {"m2": Level(256, 4), "m3": Level(512, 8)})

    BACKBONES = {..., "MyNet": my_net}

`done` is called for you. Defaults are those of detectron2's constructors, which are not always the YAML keys'.
"""

from collections.abc import Callable

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.levels import Given, Level, Levels, are_pyramid, check_equal, check_groups, chosen
from d2deploy.config.from_lazy.regnet import anynet, regnet
from d2deploy.config.from_lazy.resnet import resnet
from d2deploy.config.from_lazy.transformers import mvit, swin, vit
from d2deploy.config.schema.backbone import BottomUp
from d2deploy.errors import ConfigError


def backbone(call: Arguments, in_channels: int) -> Given:
    """The backbone of any target in BACKBONES. `in_channels`: those of the image."""
    call.must_be(*BACKBONES)
    given = BACKBONES[call.target](call, in_channels)
    call.done()
    return given


def _fpn(call: Arguments, in_channels: int) -> Given:
    """FPN (modeling/backbone/fpn.py)."""
    bottom_up = backbone(call.call("bottom_up"), in_channels)
    if not isinstance(bottom_up.config, BottomUp):
        raise _no_pyramid_on(bottom_up, f"{call.where}.bottom_up")
    in_features = chosen(call, "in_features", bottom_up.levels)
    strides = [bottom_up.levels[name].stride for name in in_features]
    if not are_pyramid(strides):
        raise call.refused("in_features", list(in_features), f"levels whose strides double; theirs are {strides}")
    channels = call.whole("out_channels")
    levels = {f"p{stride.bit_length() - 1}": Level(channels, stride) for stride in strides}
    top, top_in, levels = top_block(call, bottom_up.levels, levels)
    config = schema.FPN(
        bottom_up=bottom_up.config,
        in_features=in_features,
        out_channels=channels,
        norm=call.norm("norm"),
        fuse_type=call.one_of("fuse_type", ("sum", "avg"), "sum"),
        top_block=top,
        top_in_feature=top_in,
        square_size=call.whole("square_pad", 0, least=0),
    )
    check_groups(call.where, config.norm, channels)
    return Given(config, levels)


def _simple_feature_pyramid(call: Arguments, in_channels: int) -> Given:
    """SimpleFeaturePyramid (modeling/backbone/vit.py)."""
    net = backbone(call.call("net"), in_channels)
    if not isinstance(net.config, schema.ViT | BottomUp):
        raise _no_pyramid_on(net, f"{call.where}.net")
    in_feature = call.one_of("in_feature", tuple(net.levels))
    scales = call.reals("scale_factors", positive=True)
    width, stride = net.levels[in_feature]
    strides = [int(stride / scale) for scale in scales]
    if not set(scales) <= {4.0, 2.0, 1.0, 0.5} or not are_pyramid(strides) or not scales:
        raise call.refused("scale_factors", list(scales), "falling numbers of 4, 2, 1 and 0.5, none left out between")
    if any(width % scale for scale in scales):
        raise call.refused("scale_factors", list(scales), f"divisors of {width}, the channels of {in_feature}")
    channels = call.whole("out_channels")
    top, top_in, levels = top_block(call, net.levels, {f"p{s.bit_length() - 1}": Level(channels, s) for s in strides})
    config = schema.SimpleFeaturePyramid(
        net=net.config,
        in_feature=in_feature,
        out_channels=channels,
        scale_factors=scales,
        top_block=top,
        top_in_feature=top_in,
        norm=call.norm("norm", "LN"),
        square_size=call.whole("square_pad", 0, least=0),
    )
    check_groups(call.where, config.norm, channels, *(width // int(scale) for scale in scales if scale > 1))
    return Given(config, levels)


def _no_pyramid_on(given: Given, where: str) -> ConfigError:
    return ConfigError(f"{where} is a {type(given.config).__name__}; d2deploy builds no pyramid on that.")


def top_block(call: Arguments, below: Levels, levels: dict[str, Level]) -> tuple[str, str, dict[str, Level]]:
    """The argument top_block of a pyramid: its name in the schema, the level it reads, and all levels with its own.

    `below`: the levels that the pyramid stands on; `levels`: its own, of rising stride.
    """
    if not call.has("top_block"):
        call.ignore("top_block")
        return "", "", levels
    block = call.call("top_block", positional=("in_channels", "out_channels", "in_feature"))
    block.must_be("LastLevelMaxPool", "LastLevelP6P7")
    last = list(levels)[-1]
    if block.target == "LastLevelMaxPool":
        block.done()
        if last != "p5":  # it reads p5 whatever comes in
            raise ConfigError(f"{block.where} needs p5 as the last level of {call.where}, which is {last}.")
        return "maxpool", "", {**levels, **_above(levels, 1)}
    # FPN looks below first.
    every = {**levels, **below}
    source = block.one_of("in_feature", tuple(every), "res5")
    check_equal(f"{block.where}.in_channels", block.whole("in_channels"), every[source].channels, source)
    out_channels = levels[last].channels
    check_equal(f"{block.where}.out_channels", block.whole("out_channels"), out_channels, call.where)
    if (source not in below and source != last) or every[source].stride != levels[last].stride:
        raise block.refused("in_feature", source, f"{last}, or the level below of the same stride")
    block.done()
    return "p6p7", source, {**levels, **_above(levels, 2)}


def _above(levels: dict[str, Level], count: int) -> dict[str, Level]:
    channels, stride = levels[list(levels)[-1]]
    return {f"p{(stride << n).bit_length() - 1}": Level(channels, stride << n) for n in range(1, count + 1)}


BACKBONES: dict[str, Callable[[Arguments, int], Given]] = {
    "AnyNet": anynet,
    "FPN": _fpn,
    "MViT": mvit,
    "RegNet": regnet,
    "ResNet": resnet,
    "SimpleFeaturePyramid": _simple_feature_pyramid,
    "SwinTransformer": swin,
    "ViT": vit,
}
