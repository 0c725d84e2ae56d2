"""The arguments of a call in a LazyConfig, one by one and typed: what nobody took is an error, not forgotten."""

import math
from collections.abc import Collection, Iterable
from typing import Any

from d2deploy.config.lazy.node import Call, LazyNode
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol
from d2deploy.errors import ConfigError

_MISSING: Any = object()


class Arguments:
    """The keyword arguments of a call. Each method takes one and checks it; `done` refuses what is left.

    `where` is the call's place in the config, such as model.backbone: messages name it. Defaults are those of
    detectron2's constructors; without a default the argument is required. Raises ConfigError.
    """

    def __init__(self, call: Any, where: str, *, positional: Iterable[str] = ()) -> None:
        if not isinstance(call, Call):
            raise ConfigError(f"{where} is {_shown(call)}; it must be a call of one of detectron2's classes.")
        self.where = where
        self.target = short_name(call.target) or call.target
        names = list(positional)
        if len(call.positional) > len(names):
            raise ConfigError(f"{where} has {len(call.positional)} arguments without a name. Name them.")
        self._left = {**dict(zip(names, call.positional, strict=False)), **call.arguments}

    def done(self) -> None:
        """Raises ConfigError when an argument was given that no method took."""
        if self._left:
            raise ConfigError(
                f"{self.where} has arguments that d2deploy does not know: {', '.join(map(str, self._left))}. "
                f"They may change the network, so it is not built."
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

    def whole(self, name: str, default: Any = _MISSING, *, least: int = 0) -> int:
        """A whole number of at least `least`."""
        value = self.any(name, default)
        if type(value) is not int or not least <= value < 2**31:
            raise self.refused(name, value, f"a whole number of at least {least}")
        return value

    def real(self, name: str, default: Any = _MISSING) -> float:
        """A finite number."""
        value = self.any(name, default)
        if not _is_number(value):
            raise self.refused(name, value, "a number")
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
        if value not in allowed:
            raise self.refused(name, value, f"one of {', '.join(map(repr, allowed))}")
        return value

    def reals(self, name: str, default: Any = _MISSING, *, count: int | None = None) -> tuple[float, ...]:
        """A list of numbers, `count` of them."""
        value = self.any(name, default)
        if (
            not isinstance(value, list | tuple)
            or not all(map(_is_number, value))
            or len(value) != (count or len(value))
        ):
            raise self.refused(name, value, f"{count or 'a list of'} numbers")
        return tuple(map(float, value))

    def wholes(self, name: str, default: Any = _MISSING) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self.any(name, default)
        if not isinstance(value, list | tuple) or any(type(item) is not int for item in value):
            raise self.refused(name, value, "a list of whole numbers")
        return tuple(value)

    def names(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of texts."""
        value = self.any(name, default)
        if not isinstance(value, list | tuple) or any(not isinstance(item, str) for item in value):
            raise self.refused(name, value, "a list of names")
        return tuple(value)

    def call(self, name: str, *, positional: Iterable[str] = ()) -> "Arguments":
        """The arguments of a call that is the argument."""
        return Arguments(self.any(name), f"{self.where}.{name}", positional=positional)

    def refused(self, name: str, value: Any, wanted: str) -> ConfigError:
        """The error that says that an argument is not `wanted`."""
        return ConfigError(f"{self.where}.{name} is {_shown(value)}; it must be {wanted}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    if isinstance(value, Symbol):
        return value.name
    text = f"{type(value).__name__}" if isinstance(value, LazyNode) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
