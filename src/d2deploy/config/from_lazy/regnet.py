"""RegNets and AnyNets of a LazyConfig -> schema.

Facts: detectron2 modeling/backbone/regnet.py at 02b5c4e2. The rule that makes stages out of four numbers is that of
"Designing Network Design Spaces", section 3.3, with pycls's rounding.
"""

import math
from collections import Counter
from typing import NamedTuple

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.levels import Given, Level, check_groups
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol
from d2deploy.errors import ConfigError

STEMS = {"SimpleStem": 2, "ResStem": 4}  # and their strides
BLOCKS = ("ResBottleneckBlock", "ResBasicBlock", "VanillaBlock")
_QUANTUM = 8  # widths are multiples of it
_MAX_DEPTH, _MAX_WIDTH = 1000, 65536  # no network comes near; a slip must not fill the memory


class Stages(NamedTuple):
    """One entry a stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    group_widths: tuple[int, ...]
    bottleneck_ratios: tuple[float, ...]


def regnet(call: Arguments, in_channels: int) -> Given:
    """RegNet(stem_class, stem_width, block_class, depth, w_a, w_0, w_m, group_width, ...)."""
    depth = call.whole("depth")
    if depth > _MAX_DEPTH:
        raise call.refused("depth", depth, f"a whole number of at most {_MAX_DEPTH}")
    widths = stage_widths(call, depth)
    count = len(widths)
    ratio, group = call.real("bottleneck_ratio", 1.0), call.whole("group_width")
    if ratio <= 0 or (ratio > 1 and ratio != int(ratio)):
        raise call.refused("bottleneck_ratio", ratio, "above 0, and a whole number where above 1")
    fitted = [fit_groups(width, ratio, group) for width in widths]
    stages = Stages(
        depths=tuple(widths.values()),
        widths=tuple(width for width, _ in fitted),
        strides=(call.whole("stride", 2),) * count,
        group_widths=tuple(group for _, group in fitted),
        bottleneck_ratios=(ratio,) * count,
    )
    return _network(call, in_channels, stages)


def anynet(call: Arguments, in_channels: int) -> Given:
    """AnyNet(stem_class, stem_width, block_class, depths, widths, group_widths, strides, bottleneck_ratios, ...)."""
    stages = Stages(
        depths=call.wholes("depths"),
        widths=call.wholes("widths"),
        strides=call.wholes("strides"),
        group_widths=call.wholes("group_widths"),
        bottleneck_ratios=call.reals("bottleneck_ratios", positive=True),
    )
    if not stages.depths or len(set(map(len, stages))) > 1:
        raise ConfigError(
            f"{call.where} has {list(map(len, stages))} {', '.join(Stages._fields)}. Give one each a stage."
        )
    if max(stages.depths) > _MAX_DEPTH or max(stages.widths) > _MAX_WIDTH:
        raise call.refused("depths", list(stages.depths), f"at most {_MAX_DEPTH}, of at most {_MAX_WIDTH} channels")
    return _network(call, in_channels, stages)


def stage_widths(call: Arguments, depth: int) -> dict[int, int]:
    """{width of a stage: how many blocks it has}, rising, from w_a, w_0 and w_m.

    Block i would be w_0 + w_a * i wide. It gets w_0 times the nearest power of w_m, rounded to a multiple of 8.
    """
    slope, first, factor = call.real("w_a", least=0), call.whole("w_0"), call.real("w_m")
    if first % _QUANTUM:
        raise call.refused("w_0", first, f"a multiple of {_QUANTUM}")
    if factor <= 1:
        raise call.refused("w_m", factor, "a number above 1")
    if first + slope * depth > _MAX_WIDTH / factor:
        raise call.refused("w_a", slope, f"so small that no block is wider than {_MAX_WIDTH}")
    counts: Counter[int] = Counter()
    for block in range(depth):
        power = round(math.log((first + slope * block) / first) / math.log(factor))
        counts[round(first * factor**power / _QUANTUM) * _QUANTUM] += 1
    return dict(sorted(counts.items()))


def fit_groups(width: int, ratio: float, group: int) -> tuple[int, int]:
    """Width and group width of a stage, changed so that its bottlenecks are whole groups."""
    inside = int(max(1, width * ratio))
    group = min(group, inside)
    multiple = math.lcm(group, int(ratio)) if ratio > 1 else group
    inside = max(multiple, int(round(inside / multiple) * multiple))
    return int(inside / ratio), group


def _network(call: Arguments, in_channels: int, stages: Stages) -> Given:
    if in_channels != 3:
        raise ConfigError(f"{call.where} ({call.target}) takes images of 3 channels, these have {in_channels}.")
    stem, block = _class(call, "stem_class", tuple(STEMS)), _class(call, "block_class", BLOCKS)
    if call.has("activation_class"):
        _class(call, "activation_class", ("torch.ReLU",))
    call.ignore("activation_class")
    every = ("stem", *(f"s{number + 1}" for number in range(len(stages.depths))))
    outputs = call.names("out_features", allowed=every) if call.has("out_features") else every[-1:]
    call.ignore("out_features")
    config = schema.RegNet(
        stem=stem,
        stem_width=call.whole("stem_width"),
        block=block,
        **stages._asdict(),
        se_ratio=call.real("se_ratio", 0.0, least=0),
        norm=call.norm("norm", "BN"),
        freeze_at=call.whole("freeze_at", 0, least=0),
        out_features=outputs,
    )
    _check(call, config)
    levels = {"stem": Level(config.stem_width, STEMS[stem])}
    for name, width, stride in zip(every[1:], config.widths, config.strides, strict=True):
        levels[name] = Level(width, levels[list(levels)[-1]].stride * stride)
    return Given(config, {name: levels[name] for name in every if name in outputs})


def _check(call: Arguments, config: schema.RegNet) -> None:
    if not config.norm:
        raise call.refused("norm", config.norm, "a norm: blocks with a shortcut have none without it")
    insides = [round(width * ratio) for width, ratio in zip(config.widths, config.bottleneck_ratios, strict=True)]
    check_groups(call.where, config.norm, config.stem_width, *config.widths, *insides)
    if config.block != "ResBottleneckBlock":
        return
    for inside, group in zip(insides, config.group_widths, strict=True):
        if inside % group:
            raise ConfigError(
                f"{call.where} has bottlenecks of {inside} channels in groups of {group}. It must divide."
            )


def _class(call: Arguments, name: str, allowed: tuple[str, ...]) -> str:
    """An argument that is the name of one of these classes: its short name."""
    value = call.any(name)
    found = short_name(value.name) if isinstance(value, Symbol) else None
    if found not in allowed:
        raise call.refused(name, value, f"one of {', '.join(one.removeprefix('torch.') for one in allowed)}")
    return found
