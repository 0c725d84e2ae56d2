"""Feature levels: what the parts of a LazyConfig say of one another's channels and strides, checked."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments, Shape
from d2deploy.errors import ConfigError

GROUPS = 32  # of GN


class Level(NamedTuple):
    """A feature map."""

    channels: int
    stride: int  # input pixels per cell


Levels = Mapping[str, Level]  # by name, falling resolution


class Given(NamedTuple):
    """A backbone that was read, and what it gives."""

    config: schema.Backbone
    levels: Levels


def chosen(call: Arguments, name: str, levels: Levels) -> tuple[str, ...]:
    """The levels that an argument names. Raises ConfigError: one that the backbone does not have."""
    return call.names(name, allowed=tuple(levels))


def are_pyramid(strides: Sequence[int]) -> bool:
    """Whether each stride is twice the one before."""
    return all(stride == 2 * before for before, stride in pairwise(strides))


def channels_of(call: Arguments, names: Sequence[str], levels: Levels) -> int:
    """The channels of levels that one part reads. Raises ConfigError: they differ."""
    counts = {levels[name].channels for name in names}
    if len(counts) > 1:
        raise ConfigError(f"{call.where} reads {', '.join(names)}, which have different channels: {sorted(counts)}.")
    return counts.pop()


def check_equal(where: str, given: object, expected: object, source: str) -> None:
    """Raises ConfigError: what one part of the config says at `where` is not what follows from `source`."""
    if given != expected:
        raise ConfigError(f"{where} is {given!r}, but {source} gives {expected!r}. Correct one of them.")


def check_shape(where: str, shape: Shape, *, channels: int, side: int | None, source: str) -> None:
    """Raises ConfigError: a ShapeSpec that is not what comes in; what it leaves out is not compared."""
    check_equal(f"{where}.channels", shape.channels, channels, source)
    for name in ("height", "width"):
        if side is not None and getattr(shape, name) is not None:
            check_equal(f"{where}.{name}", getattr(shape, name), side, source)


def check_groups(where: str, norm: str, *channels: int) -> None:
    """Raises ConfigError: group norm that does not divide the channels."""
    bad = [count for count in channels if norm == "GN" and count % GROUPS]
    if bad:
        raise ConfigError(f"{where} has norm GN on {bad[0]} channels; it needs a multiple of {GROUPS}.")
