"""A LazyConfig that has been read: what the rest of d2deploy sees of it. It cannot be changed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

from d2deploy.config.lazy.values import ARGS, PARTIAL, TARGET, Budget, Items, Problem, Table, each, plain, read
from d2deploy.errors import ConfigError

MAX_VALUES = 50_000
_MARKS = (TARGET, PARTIAL, ARGS, "_convert_", "_recursive_")


class LazyNode(Mapping[Any, Any]):
    """A section of a LazyConfig: cfg.model.backbone, cfg["model"], `in`, get, keys, items, ==.

    Values are numbers, texts, None, lists, LazyNode, Call, Symbol (a class that is named, not called) and Code (a
    lambda). References are followed on reading; one that leads nowhere raises ConfigError then.
    """

    __slots__ = ("_table", "_where")
    _table: Table
    _where: str

    def __init__(self, table: Table, where: str) -> None:
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_where", where)

    def __getitem__(self, key: Any) -> Any:
        if key not in self._table.entries:
            raise KeyError(key)
        with _located(self._where):
            return _opened(read(self._table, key), self._where, Budget(MAX_VALUES))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._table.entries:
            near = get_close_matches(name, map(str, self), n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise AttributeError(f"this part of the config has no {name}{hint}")
        return self[name]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a config cannot be changed: give {name} as an override to read_lazy_config")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._table.entries)

    def __len__(self) -> int:
        return len(self._table.entries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_dict()!r})"

    def __eq__(self, other: object) -> bool:
        other = other.to_dict() if isinstance(other, LazyNode) else other
        return self.to_dict() == other

    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[Any, Any]:
        """Nested dicts and lists of its own, references followed; a Call has its `_target_`, Symbol and Code stay.

        Raises ConfigError: a reference that leads to nothing or to itself.
        """
        with _located(self._where):
            tree: dict[Any, Any] = plain(self._table, Budget(MAX_VALUES))
        return tree


class Call(LazyNode):
    """A class or function with the arguments that it is to be called with; its arguments read like a section's."""

    __slots__ = ()

    @property
    def target(self) -> str:
        """The dotted name as the config has it; lazy/targets.py, short_name, makes it one of ours."""
        return str(self._table.entries[TARGET])

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {key: self[key] for key in self if key not in _MARKS}

    @property
    def positional(self) -> list[Any]:
        """The arguments without a name, which only a partial or a direct call can have."""
        return list(self.get(ARGS, ()))

    @property
    def is_partial(self) -> bool:
        """Whether it is functools.partial of the target."""
        return self.get(PARTIAL) is True


def opened(table: Table, where: str) -> LazyNode:
    """The reader's view of a table; `where`: the file that messages name."""
    return Call(table, where) if isinstance(table.entries.get(TARGET), str) else LazyNode(table, where)


def _opened(value: Any, where: str, budget: Budget) -> Any:
    budget.spend()
    if isinstance(value, Table):
        return opened(value, where)
    return [_opened(item, where, budget) for item in each(value)] if isinstance(value, Items) else value


@contextmanager
def _located(where: str) -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        raise ConfigError(f"{where}: {problem}. Mend the file, or override the value.") from problem
