"""The arguments of a call in a LazyConfig, one by one and typed: what nobody took is an error, not forgotten."""

import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from d2deploy.config.from_lazy.norms import norm_name
from d2deploy.config.lazy.node import Call, LazyNode
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol
from d2deploy.errors import ConfigError

_MISSING: Any = object()
MAX_WHOLE = 2**31
MAX_NUMBER = 3.4e38  # of a float32, which the network computes in


class Shape(NamedTuple):
    """A ShapeSpec; None: not said."""

    channels: int | None
    height: int | None
    width: int | None
    stride: int | None


class Arguments:
    """The keyword arguments of a call. Each method takes one and checks it; `done` refuses what is left.

    `where` is the call's place in the config, such as model.backbone: messages name it. Defaults are those of
    detectron2's constructors; without a default the argument is required. Raises ConfigError.
    """

    def __init__(self, call: Any, where: str, *, positional: Iterable[str] = ()) -> None:
        if not isinstance(call, Call) or call.is_partial:
            raise ConfigError(f"{where} is {shown(call)}; it must be a call of one of detectron2's classes.")
        self.where = where
        self.target = short_name(call.target) or call.target
        names = list(positional)
        if len(call.positional) > len(names):
            raise ConfigError(f"{where} has {len(call.positional)} arguments without a name. Name them.")
        self._left = {**dict(zip(names, call.positional, strict=False)), **call.arguments}

    def must_be(self, *targets: str) -> None:
        """Raises ConfigError when it is a call of something else, which d2deploy cannot build in this place."""
        if self.target not in targets:
            raise ConfigError(
                f"{self.where} is a call of {self.target}; d2deploy can build {', '.join(targets)} there."
            )

    def done(self) -> None:
        """Raises ConfigError when an argument was given that no method took."""
        if self._left:
            raise ConfigError(
                f"{self.where} ({self.target}) has arguments that d2deploy does not know: "
                f"{', '.join(map(str, self._left))}. They may change the network, so it is not built."
            )

    def ignore(self, *names: str) -> None:
        """Takes arguments that only training reads."""
        for name in names:
            self._left.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether the argument is given and is not None."""
        return self._left.get(name) is not None

    def any(self, name: str, default: Any = _MISSING) -> Any:
        """The argument as it is."""
        value = self._left.pop(name, default)
        if value is _MISSING:
            raise ConfigError(f"{self.where} has no {name}, which {self.target} needs.")
        return value

    def whole(self, name: str, default: Any = _MISSING, *, least: int = 1) -> int:
        """A whole number of at least `least`."""
        value = self.any(name, default)
        if type(value) is not int or not least <= value < MAX_WHOLE:
            raise self.refused(name, value, f"a whole number of at least {least}")
        return value

    def real(self, name: str, default: Any = _MISSING, *, least: float = -math.inf) -> float:
        """A finite number of at least `least`."""
        value = self.any(name, default)
        if not _is_number(value) or value < least:
            raise self.refused(name, value, "a number" if least == -math.inf else f"a number of at least {least}")
        return float(value)

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        """True or False."""
        value = self.any(name, default)
        if not isinstance(value, bool):
            raise self.refused(name, value, "True or False")
        return value

    def one_of(self, name: str, allowed: Collection[Any], default: Any = _MISSING) -> Any:
        """One of `allowed`."""
        value = self.any(name, default)
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise self.refused(name, value, f"one of {', '.join(map(repr, allowed))}")
        return value

    def only(self, name: str, value: Any) -> None:
        """An argument that may only be given as `value`, which is also its default: nothing else can be built."""
        given = self.any(name, value)
        if given != value or isinstance(given, bool) != isinstance(value, bool):
            raise self.refused(name, given, f"{value!r}, the only one that d2deploy can build")

    def reals(
        self, name: str, default: Any = _MISSING, *, count: int | None = None, positive: bool = False
    ) -> tuple[float, ...]:
        """A list of numbers, `count` of them; above 0 where `positive`."""
        value = self.any(name, default)
        is_list = isinstance(value, list | tuple) and all(_is_number(item) for item in value)
        if not is_list or len(value) != (count or len(value)) or (positive and min(value, default=1) <= 0):
            raise self.refused(name, value, f"{count or 'a list of'} numbers{' above 0' if positive else ''}")
        return tuple(map(float, value))

    def per_level(self, name: str, levels: Collection[str]) -> tuple[tuple[float, ...], ...]:
        """Numbers above 0 for each of `levels`: a list of lists, or one list, flat or nested, for all of them."""
        value = self.any(name)
        rows = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
        is_table = isinstance(rows, list) and rows and all(isinstance(row, list) and row for row in rows)
        if not is_table or any(not _is_number(number) or number <= 0 for row in rows for number in row):
            raise self.refused(name, value, "lists of numbers above 0")
        if len(rows) not in (1, len(levels)):
            raise self.refused(name, value, f"one list, or one for each of {', '.join(levels)}")
        return tuple(tuple(map(float, row)) for row in (rows if len(rows) == len(levels) else rows * len(levels)))

    def wholes(self, name: str, default: Any = _MISSING, *, least: int = 1) -> tuple[int, ...]:
        """A list of whole numbers of at least `least`; it may be empty."""
        value = self.any(name, default)
        if not isinstance(value, list | tuple) or any(type(i) is not int or not least <= i < MAX_WHOLE for i in value):
            raise self.refused(name, value, f"a list of whole numbers of at least {least}")
        return tuple(value)

    def names(self, name: str, default: Any = _MISSING, *, allowed: Collection[str] | None = None) -> tuple[str, ...]:
        """One or more texts, none twice; of `allowed`."""
        value = self.any(name, default)
        is_list = isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value)
        if not is_list or len(set(value)) != len(value) or (allowed is not None and not set(value) <= set(allowed)):
            among = "" if allowed is None else f" of {', '.join(allowed)}"
            raise self.refused(name, value, f"a list of one or more names{among}, none twice")
        return tuple(value)

    def norm(self, name: str, default: str = "") -> str:
        """A normalisation, as a text, a class or a function that makes one: our name of it (see norms.py)."""
        value = self.any(name, default)
        found = norm_name(value)
        if found is None:
            raise self.refused(name, value, "a norm that detectron2's get_norm knows, such as 'BN', 'GN' or 'LN'")
        return found

    def call(self, name: str, *, positional: Iterable[str] = ()) -> "Arguments":
        """The arguments of a call that is the argument."""
        return Arguments(self.any(name), f"{self.where}.{name}", positional=positional)

    def calls(self, name: str, *, positional: Iterable[str] = ()) -> list["Arguments"]:
        """The arguments of each call in a list of one or more."""
        value = self.any(name)
        if not isinstance(value, list) or not value:
            raise self.refused(name, value, "a list of calls")
        names = list(positional)
        return [Arguments(item, f"{self.where}.{name}.{i}", positional=names) for i, item in enumerate(value)]

    def shape(self, name: str = "input_shape") -> Shape:
        """A ShapeSpec."""
        return shape_of(self.any(name), f"{self.where}.{name}")

    def refused(self, name: str, value: Any, wanted: str) -> ConfigError:
        """The error that says that an argument is not `wanted`."""
        return ConfigError(f"{self.where}.{name} is {shown(value)}; it must be {wanted}.")


def shape_of(value: Any, where: str) -> Shape:
    """A ShapeSpec at `where`."""
    spec = Arguments(value, where, positional=Shape._fields)
    spec.must_be("ShapeSpec")
    found = Shape(*(spec.whole(name) if spec.has(name) else spec.any(name, None) for name in Shape._fields))
    spec.done()
    return found


def shown(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, Call):
        return f"a call of {value.target}"
    text = "a mapping" if isinstance(value, LazyNode) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_number(value: Any) -> bool:
    # Compared, not given to math.isfinite, which breaks on an int that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
