"""ViT, SwinTransformer and MViT of a LazyConfig -> schema. Defaults are the schema's, which are detectron2's.

Facts: detectron2 modeling/backbone/vit.py, swin.py and mvit.py at 02b5c4e2.
"""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.levels import Given, Level, check_equal
from d2deploy.config.lazy.node import Call
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol


def vit(call: Arguments, in_channels: int) -> Given:
    """ViT."""
    config = schema.ViT(**_fields(call, schema.ViT, in_channels))
    call.ignore("drop_path_rate", "rel_pos_zero_init", "use_act_checkpoint")
    _check(
        call,
        "num_heads",
        config.num_heads,
        is_right=config.embed_dim % config.num_heads == 0,
        wanted="a divisor of embed_dim",
    )
    for name in ("img_size", "pretrain_img_size"):
        side = getattr(config, name)
        _check(call, name, side, is_right=side >= config.patch_size, wanted="at least patch_size")
    return Given(config, {config.out_feature: Level(config.embed_dim, config.patch_size)})


def swin(call: Arguments, in_channels: int) -> Given:
    """SwinTransformer. Its levels are of stride 4, 8, ... whatever the patch size, as detectron2 says of them."""
    config = schema.SwinTransformer(**_fields(call, schema.SwinTransformer, in_channels))
    call.ignore("drop_rate", "attn_drop_rate", "drop_path_rate", "frozen_stages", "use_checkpoint")
    stages = range(len(config.depths))
    widths = [config.embed_dim * 2**stage for stage in stages]
    fit = len(config.num_heads) == len(widths) and all(
        n and w % n == 0 for w, n in zip(widths, config.num_heads, strict=True)
    )
    _check(
        call,
        "num_heads",
        list(config.num_heads),
        is_right=fit,
        wanted=f"a divisor of each of the stages' channels, {widths}",
    )
    known = bool(config.out_indices) and set(config.out_indices) <= set(stages)
    _check(
        call,
        "out_indices",
        list(config.out_indices),
        is_right=known,
        wanted=f"one or more of {', '.join(map(str, stages))}",
    )
    chosen = sorted(config.out_indices)
    return Given(config, {f"p{index}": Level(widths[index], 4 * 2**index) for index in chosen})


def mvit(call: Arguments, in_channels: int) -> Given:
    """MViT."""
    config = schema.MViT(**_fields(call, schema.MViT, in_channels))
    call.ignore("drop_path_rate", "rel_pos_zero_init", "use_act_checkpoint")
    _check(
        call,
        "num_heads",
        config.num_heads,
        is_right=config.embed_dim % config.num_heads == 0,
        wanted="a divisor of embed_dim",
    )
    _check_stages(call, config)
    stride = config.patch_stride[0]
    square = config.patch_stride == (stride, stride)
    _check(call, "patch_stride", list(config.patch_stride), is_right=square, wanted="the same number twice")
    odd = all(side % 2 for side in config.qkv_pool_kernel)
    _check(call, "qkv_pool_kernel", list(config.qkv_pool_kernel), is_right=odd, wanted="odd numbers")
    for name, side in (("img_size", config.img_size), ("pretrain_img_size", config.pretrain_img_size)):
        least = stride * 2 ** (len(config.last_block_indexes) - 1)
        _check(call, name, side, is_right=side >= least, wanted=f"at least {least}, so that each stage has a patch")
    every = {
        f"scale{number + 2}": Level(config.embed_dim * 2**number, stride * 2**number)
        for number in range(len(config.last_block_indexes))
    }
    known = set(config.out_features) <= set(every)
    _check(call, "out_features", list(config.out_features), is_right=known, wanted=f"some of {', '.join(every)}")
    return Given(config, {name: level for name, level in every.items() if name in config.out_features})


def _check_stages(call: Arguments, config: schema.MViT) -> None:
    """Raises ConfigError: last blocks that are none, windows that pooling would cut into unequal parts."""
    last, window = config.last_block_indexes, config.adaptive_window_size
    rises = len(last) >= 3 and last[-1] < config.depth and all(a < b for a, b in pairwise(last))
    _check(
        call,
        "last_block_indexes",
        list(last),
        is_right=rises,
        wanted=f"three or more rising numbers below {config.depth}, the depth",
    )
    pooled = [_is_divided(window, config.adaptive_kv_stride, stage) for stage in range(len(last))]
    _check(
        call,
        "adaptive_window_size",
        window,
        is_right=all(pooled),
        wanted="a number that the stages' pooling divides, as 56 is",
    )


def _is_divided(window: int, stride: int, stage: int) -> bool:
    """Whether a stage's pooling divides its windows; its first block, which halves the map, still has larger ones."""
    stride = max(stride >> stage, 1)
    larger = window >> (stage - 1) if stage else 0
    return (window >> stage) % stride == 0 and larger % stride == 0 and larger % 2 == 0


def _check(call: Arguments, name: str, value: Any, *, is_right: bool, wanted: str) -> None:
    """Raises ConfigError, which says that the argument must be `wanted`, unless it is right."""
    if not is_right:
        raise call.refused(name, value, wanted)


def _fields(call: Arguments, kind: Any, in_channels: int) -> dict[str, Any]:
    """The arguments that the schema has, each by its type; the others that all three backbones share are checked."""
    check_equal(f"{call.where}.in_chans", call.whole("in_chans", 3), in_channels, "model.pixel_mean")
    if call.has("act_layer"):
        layer = call.any("act_layer")
        is_gelu = isinstance(layer, Symbol) and short_name(layer.name) == "torch.GELU"
        _check(call, "act_layer", layer, is_right=is_gelu, wanted="torch.nn.GELU, the only one that d2deploy can build")
    else:
        call.ignore("act_layer")
    given = {"norm_eps": _norm_eps(call)}
    for field in dataclasses.fields(kind):
        if field.name not in given:
            given[field.name] = READERS[field.type](call, field.name, field.default)
    return given


def _norm_eps(call: Arguments) -> float:
    """The eps of norm_layer, which may be LayerNorm or functools.partial of it."""
    if not call.has("norm_layer"):
        call.ignore("norm_layer")
        return 1e-5
    layer = call.any("norm_layer")
    wanted = "torch.nn.LayerNorm, or functools.partial of it with eps"
    if isinstance(layer, Symbol):
        _check(call, "norm_layer", layer, is_right=short_name(layer.name) == "torch.LayerNorm", wanted=wanted)
        return 1e-5
    is_norm = isinstance(layer, Call) and layer.is_partial and short_name(layer.target) == "torch.LayerNorm"
    _check(
        call,
        "norm_layer",
        layer,
        is_right=is_norm and set(layer.arguments) <= {"eps"} and not layer.positional,
        wanted=wanted,
    )
    eps = layer.arguments.get("eps", 1e-5)
    _check(call, "norm_layer", layer, is_right=isinstance(eps, float) and 0 < eps < 1, wanted=wanted)
    return float(eps)


def _whole(call: Arguments, name: str, default: int) -> int:
    return call.whole(name, default, least=min(default, 1))


def _ratio(call: Arguments, name: str, default: float) -> float:
    value = call.real(name, default)
    _check(call, name, value, is_right=0 < value <= 1000, wanted="a number above 0")
    return value


def _scale(call: Arguments, name: str, default: None) -> float | None:
    if call.has(name):
        return call.real(name)
    call.ignore(name)
    return default


def _text(call: Arguments, name: str, default: str) -> str:
    value = call.any(name, default)
    _check(call, name, value, is_right=isinstance(value, str) and bool(value), wanted="a name")
    return str(value)


def _pair(call: Arguments, name: str, default: tuple[int, int]) -> tuple[int, int]:
    value = call.wholes(name, default, least=0 if name == "patch_padding" else 1)
    _check(call, name, list(value), is_right=len(value) == 2, wanted="two whole numbers")
    return value[0], value[1]


def _indices(call: Arguments, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return call.wholes(name, default, least=0)


READERS: dict[Any, Callable[[Arguments, str, Any], Any]] = {
    bool: Arguments.flag,
    float: _ratio,
    float | None: _scale,
    int: _whole,
    str: _text,
    tuple[int, int]: _pair,
    tuple[int, ...]: _indices,
    tuple[str, ...]: Arguments.names,
}
