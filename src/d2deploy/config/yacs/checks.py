"""Values out of a config, checked: each function names the key and what is allowed in its ConfigError."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from d2deploy.config.node import Node
from d2deploy.errors import ConfigError

Supported = dict[str, Collection[Any]]
"""Key -> values that can be built so far."""

MAX_WHOLE = 2**31
MAX_NUMBER = 3.4e38  # of a float32, which the network computes in


def at(cfg: Node, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = cfg
    for part in key.split("."):
        value = value[part]
    return value


def whole(cfg: Node, key: str, *, least: int = 1) -> int:
    """A whole number of at least `least`."""
    value = at(cfg, key)
    if type(value) is not int or value < least:
        raise refused(cfg, key, f"a whole number of at least {least}")
    if value >= MAX_WHOLE:
        raise refused(cfg, key, f"a whole number below {MAX_WHOLE}")
    return value


def flag(cfg: Node, key: str) -> bool:
    """True or False. The merge rules let None stand for anything, so that even this needs a look."""
    value = at(cfg, key)
    if not isinstance(value, bool):
        raise refused(cfg, key, "true or false")
    return value


def text(cfg: Node, key: str) -> str:
    """A text, which may be empty."""
    value = at(cfg, key)
    if not isinstance(value, str):
        raise refused(cfg, key, "a text")
    return value


def real(cfg: Node, key: str, *, least: float = -math.inf) -> float:
    """A finite number of at least `least`."""
    value = at(cfg, key)
    if not _is_number(value) or value < least:
        raise refused(cfg, key, "a number" if least == -math.inf else f"a number of at least {least}")
    return float(value)


def reals(cfg: Node, key: str, *, count: int, positive: bool = False) -> tuple[float, ...]:
    """`count` finite numbers; above 0 where `positive`."""
    value = at(cfg, key)
    if not _are_numbers(value, positive=positive) or len(value) != count:
        raise refused(cfg, key, f"{count} numbers{' above 0' if positive else ''}")
    return tuple(map(float, value))


def names(cfg: Node, key: str, *, allowed: Sequence[str] | None) -> tuple[str, ...]:
    """One or more of `allowed` (None: any), none twice."""
    value = at(cfg, key)
    ok = isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
    if not ok or len(set(value)) != len(value) or (allowed is not None and not set(value) <= set(allowed)):
        raise refused(cfg, key, f"one or more of {', '.join(allowed or ('its feature levels',))}, none twice")
    return tuple(value)


def wholes(cfg: Node, key: str, *, least: int = 1) -> tuple[int, ...]:
    """Whole numbers of at least `least`; there may be none."""
    value = at(cfg, key)
    if not isinstance(value, list | tuple) or any(type(i) is not int or not least <= i < MAX_WHOLE for i in value):
        raise refused(cfg, key, f"a list of whole numbers of at least {least}")
    return tuple(value)


def per_level(cfg: Node, key: str, *, levels: Sequence[str], positive: bool = True) -> tuple[tuple[float, ...], ...]:
    """A list of numbers, above 0 where `positive`, for each of `levels`; one list, flat or nested, stands for all.

    The rule is detectron2's (modeling/anchor_generator.py at 02b5c4e2).
    """
    value = at(cfg, key)
    if isinstance(value, list | tuple) and value and not isinstance(value[0], list | tuple):
        value = [value]
    if not isinstance(value, list | tuple) or not all(row and _are_numbers(row, positive=positive) for row in value):
        raise refused(cfg, key, f"lists of numbers{' above 0' if positive else ''}")
    rows = value * len(levels) if len(value) == 1 else value
    if len(rows) != len(levels):
        raise refused(cfg, key, f"one list, or one for each of {', '.join(levels)}; it has {len(rows)}")
    return tuple(tuple(map(float, row)) for row in rows)


def refused(cfg: Node, key: str, wanted: str) -> ConfigError:
    """The error that says that a key's value is not `wanted`."""
    return ConfigError(f"{key} is {at(cfg, key)!r}; it must be {wanted}.")


def unsupported(cfg: Node, supported: Mapping[str, Collection[Any]]) -> list[str]:
    """A line for each key of `supported` whose value is none of those that can be built."""
    return [
        f"  {key} is {at(cfg, key)!r}; can be: {', '.join(map(repr, allowed))}"
        for key, allowed in supported.items()
        if at(cfg, key) not in allowed
    ]


def _is_number(value: Any) -> bool:
    # Compared, not given to math.isfinite, which breaks on an int that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _are_numbers(value: Any, *, positive: bool) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(_is_number(item) and (item > 0 or not positive) for item in value)
