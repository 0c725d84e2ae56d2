"""What a LazyConfig holds: tables, lists, names of classes, `${...}` references; no real class or function.

The meaning is that of detectron2's config/lazy.py (02b5c4e2) and of omegaconf 2.3: what is put into a config is copied;
lists and tuples become lists; a reference is looked up when it is read, from the place where it stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from d2deploy.errors import ConfigError

MAX_STEPS = 300_000  # the largest official config takes 8,000
MAX_DEPTH = 40  # tables and lists within each other
MAX_TEXT = 10_000  # characters of a text that is put together
MAX_REFERENCES = 20  # that lead to one another

TARGET, PARTIAL, ARGS = "_target_", "_partial_", "_args_"
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_PART = re.compile(r"\.?([^.\[\]]+)|\[([^\[\]]+)\]")


class Problem(ConfigError):
    """Something wrong in a config, not yet said where; `is_outside`: fine Python, but more than is interpreted."""

    def __init__(self, text: str, *, is_outside: bool = False) -> None:
        super().__init__(text)
        self.is_outside = is_outside
        self.line: int | None = None


def outside(text: str) -> Problem:
    """The problem of a thing that only running the file could give."""
    return Problem(text, is_outside=True)


class Budget:
    """What reading a config may cost, so that no file can hang or fill the memory."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Raises Problem when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise Problem("it takes more steps, or makes larger values, than a config may")


@dataclass(frozen=True)
class Symbol:
    """A class or function that a config names, such as detectron2.modeling.backbone.BasicStem."""

    name: str


@dataclass(frozen=True)
class Code:
    """A lambda or function of the config file, which is kept as its text and never run.

    `target`: the dotted name of what it calls, where it only makes one call (`lambda c: NaiveSyncBatchNorm(c)`).
    """

    source: str
    target: str | None = None


class Table:
    """A mapping of a config while it is read; `kind` "dict" is Python's own, "object" a call that is not lazy."""

    __slots__ = ("entries", "kind", "parent")

    def __init__(self, kind: Literal["dict", "config", "object"], parent: "Table | Items | None" = None) -> None:
        self.kind = kind
        self.parent = parent
        self.entries: dict[str | int, Any] = {}


class Items:
    """A list of a config."""

    __slots__ = ("entries", "parent")

    def __init__(self, parent: "Table | Items | None" = None) -> None:
        self.parent = parent
        self.entries: list[Any] = []


def called(target: str, arguments: dict[str, Any], kind: Literal["config", "object"] = "config") -> Table:
    """A call of `target`, as a table."""
    table = Table(kind)
    table.entries[TARGET] = target
    table.entries.update(arguments)
    return table


def adopted(value: Any, parent: Table | Items | None, budget: Budget, depth: int = 0) -> Any:
    """`value` as a config holds it: a copy, without anything that Python shares."""
    budget.spend()
    if depth > MAX_DEPTH:
        raise Problem(f"values are nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Table):
        table = Table("object" if value.kind == "object" else "config", parent)
        table.entries = {key: adopted(item, table, budget, depth + 1) for key, item in value.entries.items()}
        return table
    if isinstance(value, Items | list | tuple):
        items = Items(parent)
        entries = value.entries if isinstance(value, Items) else value
        items.entries = [adopted(item, items, budget, depth + 1) for item in entries]
        return items
    if isinstance(value, Code | Symbol | str | int | float) or value is None:
        return value
    raise outside(f"a {kind_of(value)} cannot be a value of a config")


def put(table: Table | Items, key: Any, value: Any, budget: Budget) -> None:
    """Set an entry; in a config that copies `value`."""
    if isinstance(table, Items):
        table.entries[_position(table, key)] = adopted(value, table, budget)
        return
    if type(key) not in (str, int) or (isinstance(key, str) and key.startswith("__")):
        raise outside(f"{key!r} cannot be a key")
    budget.spend()
    if key == TARGET and isinstance(value, Symbol):
        value = value.name
    table.entries[key] = value if table.kind == "dict" else adopted(value, table, budget)


def read(holder: Table | Items, key: Any, depth: int = 0) -> Any:
    """An entry; a reference is followed. Raises Problem: no such entry, a reference to nothing or to itself."""
    if isinstance(holder, Items):
        value = holder.entries[_position(holder, key)]
    else:
        if isinstance(key, bool | float) or not isinstance(key, str | int) or key not in holder.entries:
            raise _missing(holder, key)
        value = holder.entries[key]
    is_plain = isinstance(holder, Table) and holder.kind == "dict"
    return value if is_plain or not isinstance(value, str) or "${" not in value else _followed(value, holder, depth)


def remove(holder: Table | Items, key: Any) -> None:
    """Raises Problem when there is no such entry."""
    if isinstance(holder, Items):
        del holder.entries[_position(holder, key)]
    elif type(key) in (str, int) and key in holder.entries:
        del holder.entries[key]
    else:
        raise _missing(holder, key)


def each(holder: Items | Table) -> Iterator[Any]:
    """The values of a list or the keys of a table, in order."""
    if isinstance(holder, Table):
        return iter(list(holder.entries))
    return (read(holder, index) for index in range(len(holder.entries)))


def plain(value: Any, budget: Budget, depth: int = 0) -> Any:
    """`value` as dicts and lists, references followed; Symbol and Code stay."""
    budget.spend()
    if depth > MAX_DEPTH:
        raise Problem(f"values are nested deeper than {MAX_DEPTH} levels, or refer to what holds them")
    if isinstance(value, Table):
        return {key: plain(read(value, key), budget, depth + 1) for key in value.entries}
    if isinstance(value, Items):
        return [plain(item, budget, depth + 1) for item in each(value)]
    if isinstance(value, list | tuple):
        return type(value)(plain(item, budget, depth + 1) for item in value)
    return value


def kind_of(value: Any) -> str:
    """What to call a value in a message."""
    if isinstance(value, Symbol):
        return f"name ({value.name})"
    if isinstance(value, Table) and value.kind == "object":
        return f"call of {value.entries[TARGET]}"
    names = {Table: "mapping", Items: "list", type(None): "None", str: "text", Code: "function"}
    return names.get(type(value), type(value).__name__.lower())


def _followed(text: str, holder: Table | Items, depth: int) -> Any:
    if depth > MAX_REFERENCES:
        raise Problem(f"the reference {short(text)} in {_name(holder)} leads back to itself")
    if whole := _REFERENCE.fullmatch(text):
        return _referred(whole[1], holder, depth)
    if len(text) > MAX_TEXT or not _REFERENCE.search(text):
        raise outside(f"{short(text)} in {_name(holder)} is no reference that is understood")

    def filled(match: re.Match[str]) -> str:
        value = _referred(match[1], holder, depth)
        if not isinstance(value, str | int | float):
            raise outside(f"{short(text)} in {_name(holder)} puts a {kind_of(value)} into a text")
        return str(value)

    return _REFERENCE.sub(filled, text)[:MAX_TEXT]


def _referred(path: str, holder: Table | Items, depth: int) -> Any:
    if ":" in path:
        raise outside(f"${{{path}}} in {_name(holder)} calls a resolver of omegaconf")
    keys = path.lstrip(".")
    ups = len(path) - len(keys)
    value: Any = _above(holder, ups - 1, path) if ups else _root(holder)
    parts = [match[1] or match[2] for match in _PART.finditer(keys)]
    if not parts or "".join(parts) != re.sub(r"[.\[\]]", "", keys):
        raise Problem(f"${{{path}}} in {_name(holder)} is no reference that is understood")
    for part in parts:
        if not has(value, part):
            raise Problem(f"the reference ${{{path}}} in {_name(holder)} leads to nothing: there is no {part}")
        value = read(value, key_in(value, part), depth + 1)
    return value


def key_in(holder: Table | Items, part: str) -> str | int:
    """The key that a part of a dotted name stands for: in a list a position."""
    is_position = re.fullmatch(r"-?\d{1,9}", part) and (isinstance(holder, Items) or part not in holder.entries)
    return int(part) if is_position else part


def has(holder: Any, part: str) -> bool:
    """Whether `holder` is a table or list with such an entry."""
    if isinstance(holder, Table):
        return key_in(holder, part) in holder.entries
    if isinstance(holder, Items):
        key, length = key_in(holder, part), len(holder.entries)
        return isinstance(key, int) and -length <= key < length
    return False


def _above(holder: Table | Items, ups: int, path: str) -> Table | Items:
    place: Table | Items | None = holder
    for _ in range(ups):
        place = place.parent if place else None
    if place is None:
        raise Problem(f"the reference ${{{path}}} in {_name(holder)} leads above the top of the config")
    return place


def _root(holder: Table | Items) -> Table | Items:
    while holder.parent is not None:
        holder = holder.parent
    return holder


def _name(holder: Table | Items) -> str:
    """The dotted name of a place in its config."""
    keys: list[str] = []
    while holder.parent is not None:
        above = holder.parent
        pairs = above.entries.items() if isinstance(above, Table) else enumerate(above.entries)
        keys.append(next((str(key) for key, value in pairs if value is holder), "?"))
        holder = above
    return ".".join(reversed(keys)) or "this mapping or list"


def _position(items: Items, key: Any) -> int:
    if type(key) is not int or not -len(items.entries) <= key < len(items.entries):
        raise Problem(f"{_name(items)} is a list of {len(items.entries)}; it has no entry {key!r}")
    return key


def _missing(table: Table, key: Any) -> Problem:
    near = get_close_matches(str(key), [str(name) for name in table.entries], n=1)
    hint = f"; the nearest is {near[0]}" if near else ""
    return Problem(f"{_name(table)} has no key {short(str(key))}{hint}")


def short(text: str) -> str:
    """A text as a message shows it."""
    return text if len(text) <= 60 else text[:57] + "..."
