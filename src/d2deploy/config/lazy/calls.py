"""What a call in a LazyConfig gives.

A class or function that is only named becomes a table with `_target_`, whether the file writes L(X)(...),
partial(X, ...) or X(...); the few functions whose meaning is known are computed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from d2deploy.config.lazy.functions import FUNCTIONS, LIBRARY
from d2deploy.config.lazy.scope import Builtin, Function, Lazy, Scope, stored
from d2deploy.config.lazy.values import (
    ARGS,
    PARTIAL,
    Budget,
    Problem,
    Symbol,
    Table,
    called,
    kind_of,
    outside,
    put,
)

LAZY_CALL = ("detectron2.config.LazyCall", "detectron2.config.lazy.LazyCall")
# What the other functions of these do to a config is not known here, so they are more than names.
_NOT_ONLY_NAMES = ("detectron2.config.", "omegaconf.", "detectron2.model_zoo.", "functools.", "copy.", "math.")


class Given(NamedTuple):
    """The arguments of a call."""

    values: list[Any]
    keywords: dict[str, Any]


class Hooks(NamedTuple):
    """What calls need from the reading of whole files."""

    run: Callable[[Function, Given], Any]
    loaders: Mapping[str, Callable[[Scope, Given], Any]]  # get_config and its like, by dotted name


class Caller:
    """The calls of one config and all that it imports."""

    def __init__(self, budget: Budget, hooks: Hooks) -> None:
        self.budget = budget
        self.hooks = hooks

    def called(self, callee: Any, given: Given, scope: Scope) -> Any:
        """callee(*values, **keywords). Raises Problem for what cannot be called, or only by running code."""
        if isinstance(callee, Function):
            return self.hooks.run(callee, given)
        if isinstance(callee, Symbol):
            return self._symbol(callee.name, given, scope)
        data = Given([stored(value) for value in given.values], {k: stored(v) for k, v in given.keywords.items()})
        if isinstance(callee, Lazy):
            if data.values:
                raise Problem(f"L({callee.target}) takes named arguments only")
            return self._table(callee.target, data.keywords, "config")
        if isinstance(callee, Builtin):
            return FUNCTIONS[callee.name](self.budget, *data.values, **data.keywords)
        raise outside(f"calling a {kind_of(callee)}")

    def method(self, method: Callable[..., Any], holder: Any, given: Given) -> Any:
        """holder.method(*values, **keywords), where `method` is one of METHODS."""
        keywords = {key: stored(value) for key, value in given.keywords.items()}
        return method(holder, self.budget, *(stored(value) for value in given.values), **keywords)

    def _symbol(self, name: str, given: Given, scope: Scope) -> Any:
        values, keywords = given
        if name in LAZY_CALL and len(values) == 1 and not keywords:
            return Lazy(_target(values[0]))
        if name == "functools.partial" and values:
            return self._positional(_target(values[0]), Given(values[1:], {PARTIAL: True, **keywords}))
        if name in LIBRARY:
            return LIBRARY[name](self.budget, *values, **keywords)
        if name in self.hooks.loaders:
            return self.hooks.loaders[name](scope, given)
        if name.startswith(_NOT_ONLY_NAMES):
            raise outside(f"calling {name}")
        return self._positional(name, given)

    def _positional(self, target: str, given: Given) -> Table:
        rest = {ARGS: [stored(value) for value in given.values]} if given.values else {}
        return self._table(target, {**rest, **{k: stored(v) for k, v in given.keywords.items()}}, "object")

    def _table(self, target: str, arguments: dict[str, Any], kind: Literal["config", "object"]) -> Table:
        table = called(target, {}, kind)
        for key, value in arguments.items():
            put(table, key, value, self.budget)
        return table


def _target(value: Any) -> str:
    if isinstance(value, Symbol | Function):
        return value.name
    if isinstance(value, str):
        return value
    raise outside(f"a {kind_of(value)} as what is called later")
