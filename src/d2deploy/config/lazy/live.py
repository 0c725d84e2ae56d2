"""A config that Python code is still writing: what `L(X)(...)` gives while a trusted LazyConfig runs.

Meant like omegaconf's DictConfig and ListConfig: attributes are entries, what is put in is copied, references are
followed on reading. The values lie in a Table or Items, as those of a config that is only read.
"""

import functools
import inspect
from collections.abc import Iterable, Iterator, MutableMapping, MutableSequence
from typing import Any

from d2deploy.config.lazy.functions import copied
from d2deploy.config.lazy.values import (
    ARGS,
    PARTIAL,
    TARGET,
    Budget,
    Code,
    Items,
    Symbol,
    Table,
    adopted,
    called,
    each,
    put,
    read,
    remove,
)

MODULE = "detectron2_config"  # what a running config believes to be


class Name:
    """A class, function or module that is only named: its attributes are names, calling it gives a Section.

    `special`: dotted names that mean something, and what they are.
    """

    def __init__(self, dotted: str, special: dict[str, Any]) -> None:
        self.dotted = dotted
        self._special = special

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        dotted = f"{self.dotted}.{name}"
        return self._special[dotted] if dotted in self._special else Name(dotted, self._special)

    def __call__(self, *values: Any, **keywords: Any) -> "Section":
        """The call, kept as data."""
        return Section(_call(self.dotted, values, keywords))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (object,)  # a class of the config that is derived from it

    def __repr__(self) -> str:
        return self.dotted


class LazyCall:
    """detectron2's LazyCall: L(target)(**arguments)."""

    def __init__(self, target: Any) -> None:
        self._target = target if isinstance(target, str) else stored(target)

    def __call__(self, **arguments: Any) -> "Section":
        """The call, kept as data that can still be changed."""
        table = called(self._target.name if isinstance(self._target, Symbol) else str(self._target), {})
        for key, value in arguments.items():
            put(table, key, stored(value), Budget())
        return Section(table)


class Section(MutableMapping[Any, Any]):
    """A mapping of a config; `table` is what it writes to."""

    __slots__ = ("table",)
    table: Table

    def __init__(self, table: Table) -> None:
        object.__setattr__(self, "table", table)

    def __getitem__(self, key: Any) -> Any:
        if key not in self.table.entries:
            raise KeyError(key)
        return live(read(self.table, key))

    def __setitem__(self, key: Any, value: Any) -> None:
        put(self.table, key, stored(value), Budget())

    def __delitem__(self, key: Any) -> None:
        if key not in self.table.entries:
            raise KeyError(key)
        remove(self.table, key)

    def __iter__(self) -> Iterator[Any]:
        return each(self.table)

    def __len__(self) -> int:
        return len(self.table.entries)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.table.entries:
            raise AttributeError(f"the config has no {name} here")
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __deepcopy__(self, _: dict[int, Any]) -> "Section":
        return Section(copied(Budget(), self.table))

    def copy(self) -> "Section":
        """One of its own."""
        return self.__deepcopy__({})

    __copy__ = copy


class Listing(MutableSequence[Any]):
    """A list of a config; `items` is what it writes to."""

    def __init__(self, items: Items) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return live(read(self.items, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        put(self.items, index, stored(value), Budget())

    def __delitem__(self, index: Any) -> None:
        del self.items.entries[index]

    def __len__(self) -> int:
        return len(self.items.entries)

    def insert(self, index: int, value: Any) -> None:
        """Before `index`."""
        self.items.entries.insert(index, adopted(stored(value), self.items, Budget()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Any]) -> list[Any]:
        return [*other, *self]

    def __deepcopy__(self, _: dict[int, Any]) -> "Listing":
        return Listing(copied(Budget(), self.items))


def live(value: Any) -> Any:
    """A stored value as the code sees it."""
    if isinstance(value, Table):
        return Section(value)
    return Listing(value) if isinstance(value, Items) else value


def stored(value: Any) -> Any:
    """A value of the code as a config stores it; an object that no config knows becomes a call of its class."""
    if isinstance(value, Section):
        return value.table
    if isinstance(value, Listing):
        return value.items
    if isinstance(value, dict):
        table = Table("dict")
        for key, item in value.items():
            put(table, key, stored(item), Budget())
        return table
    if isinstance(value, list | tuple):
        return [stored(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str | Symbol | Code):
        return value
    return _thing(value)


def _thing(value: Any) -> Any:
    if isinstance(value, Name):
        return Symbol(value.dotted)
    if isinstance(value, functools.partial):
        return _call(_dotted(value.func), value.args, {PARTIAL: True, **value.keywords})
    if inspect.isfunction(value) and value.__module__ == MODULE:
        return _code(value)
    dotted = _dotted(value)
    return Symbol(dotted) if inspect.isclass(value) or inspect.isroutine(value) else called(dotted, {}, "object")


def _dotted(value: Any) -> str:
    """The dotted name of a class or function; of anything else that of its class."""
    if isinstance(value, Name):
        return value.dotted
    kind = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _call(target: str, values: Iterable[Any], keywords: dict[str, Any]) -> Table:
    table = called(target, {}, "object")
    if values := list(values):
        put(table, ARGS, stored(values), Budget())
    for key, value in keywords.items():
        put(table, key, stored(value), Budget())
    return table


def _code(function: Any) -> Code:
    """A function of the config that makes one call with its argument, written out; else one that nobody knows."""
    argument = Symbol("c")
    try:
        made = function(argument)
    except Exception:  # whatever the function does with what is no number
        made = None
    if isinstance(made, Section) and isinstance(made.table.entries.get(TARGET), str):
        *first, last = made.table.entries[ARGS].entries if ARGS in made.table.entries else [None]
        keywords = [f"{key}={value!r}" for key, value in made.table.entries.items() if key not in (TARGET, ARGS)]
        if last is argument:
            return Code(f"lambda c: f({', '.join([*map(repr, first), 'c', *keywords])})", made.table.entries[TARGET])
    return Code(f"{function.__qualname__}, whose meaning is unknown")
