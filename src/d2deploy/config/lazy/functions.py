"""The functions and methods that a LazyConfig may call, on plain values and tables. Each works on our own types only.

Everything that could grow spends from the budget first; nothing here reaches a file, a module or an attribute of a
Python object.
"""

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

from d2deploy.config.lazy.values import (
    MAX_TEXT,
    Budget,
    Items,
    Table,
    adopted,
    each,
    kind_of,
    outside,
    plain,
    put,
    read,
    remove,
)

MAX_ITEMS = 10_000
MAX_BITS = 256  # of a whole number
_SCALARS = (str, int, float, bool, type(None))


def listed(value: Any, budget: Budget) -> list[Any]:
    """The items of a value that a loop may go over: a list, a mapping's keys, the letters of a text."""
    if isinstance(value, Items | Table):
        result = list(each(value))
    elif isinstance(value, list | tuple | str):
        result = list(value)
    else:
        raise outside(f"a {kind_of(value)} has no items that could be gone over")
    budget.spend(len(result))
    return result


def checked(number: Any) -> Any:
    """A number of bearable size. Raises Problem for one that is too large or not real."""
    if (isinstance(number, int) and number.bit_length() > MAX_BITS) or isinstance(number, complex):
        raise outside("a number is too large or not real")
    return number


def binary(sign: str, left: Any, right: Any, budget: Budget) -> Any:
    """`left sign right` of numbers, texts and lists."""
    left, right = (list(each(side)) if isinstance(side, Items) else side for side in (left, right))
    if isinstance(left, int | float) and isinstance(right, int | float):
        are_whole = isinstance(left, int) and isinstance(right, int)
        if sign == "**" and are_whole and abs(right) * int(left).bit_length() > MAX_BITS:
            raise outside("a power is too large")
        return checked(ARITHMETIC[sign](left, right))
    if sign == "+" and type(left) is type(right) and isinstance(left, str | list | tuple):
        return _sized(len(left) + len(right), lambda: operator.add(left, right), budget)
    if sign == "*" and isinstance(left, list | tuple) and type(right) is int:
        return _sized(len(left) * max(right, 0), lambda: left * right, budget)
    if sign == "*" and isinstance(right, list | tuple) and type(left) is int:
        return _sized(len(right) * max(left, 0), lambda: right * left, budget)
    raise outside(f"{sign} of a {kind_of(left)} and a {kind_of(right)}")


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """`left == right`."""
    if not isinstance(left, _SCALARS) or not isinstance(right, _SCALARS):
        left, right = plain(left, budget), plain(right, budget)
    return bool(left == right)


def text_of(value: Any, budget: Budget) -> str:
    """str(value) of a plain value."""
    value = plain(value, budget)
    if isinstance(value, _SCALARS) or (isinstance(value, list | tuple) and all(type(i) in _SCALARS for i in value)):
        text = str(value)
        return str(_sized(len(text), lambda: text, budget))
    raise outside(f"the text of a {kind_of(value)}")


def truth(value: Any) -> bool:
    """bool(value)."""
    if isinstance(value, Items) or (isinstance(value, Table) and value.kind != "object"):
        return bool(value.entries)
    if isinstance(value, (*_SCALARS, list, tuple)):
        return bool(value)
    raise outside(f"whether a {kind_of(value)} is true")


def _sized(size: int, make: Callable[[], Any], budget: Budget) -> Any:
    if size > MAX_ITEMS:
        raise outside(f"a value has more than {MAX_ITEMS} items")
    budget.spend(size // 8 + 1)
    return make()


def _scalar(value: Any) -> Any:
    if not isinstance(value, _SCALARS):
        raise outside(f"a {kind_of(value)} where a number or text belongs")
    return value


def _scalars(values: list[Any], budget: Budget) -> list[Any]:
    """The arguments of max and its like: several values, or one list of them."""
    given = listed(values[0], budget) if len(values) == 1 else values
    return [_scalar(value) for value in given]


def _int(_: Budget, value: Any = 0) -> int:
    if isinstance(value, str) and len(value) > 100:
        raise outside("a number is too large")
    return int(checked(int(_scalar(value))))


def _range(budget: Budget, *values: Any) -> list[int]:
    numbers = range(*values)
    count = numbers.__len__() if abs(max(values, key=abs, default=0)) < 10**12 else MAX_ITEMS + 1
    return list(_sized(count, lambda: list(numbers), budget))


def _dict(budget: Budget, *values: Any, **keywords: Any) -> Table:
    table = Table("dict")
    _update(table, budget, *values, **keywords)
    return table


def _update(table: Table, budget: Budget, *values: Any, **keywords: Any) -> None:
    if len(values) > 1:
        raise outside("more than one mapping at once")
    for value in values:
        pairs = [(key, read(value, key)) for key in each(value)] if isinstance(value, Table) else listed(value, budget)
        for pair in pairs:
            key, item = listed(pair, budget) if not isinstance(pair, tuple) else pair
            put(table, key, item, budget)
    for key, item in keywords.items():
        put(table, key, item, budget)


def _length(_: Budget, value: Any) -> int:
    if isinstance(value, Items | Table):
        return len(value.entries)
    if isinstance(value, list | tuple | str):
        return len(value)
    raise outside(f"the length of a {kind_of(value)}")


def copied(budget: Budget, value: Any) -> Any:
    """copy.deepcopy(value)."""
    if isinstance(value, Table | Items):
        twin = adopted(value, value.parent, budget)
        if isinstance(value, Table) and value.kind == "dict":
            twin.kind = "dict"
        return twin
    return [copied(budget, item) for item in listed(value, budget)] if isinstance(value, list) else value


def shallow(budget: Budget, value: Any) -> Any:
    """copy.copy(value), which shares what the value holds."""
    budget.spend()
    if isinstance(value, Table | Items):
        twin = copy.copy(value)
        twin.entries = value.entries.copy()
        return twin
    return list(value) if isinstance(value, list) else value


def _sorted(budget: Budget, values: Any, reverse: bool = False) -> list[Any]:
    return sorted(_scalars([values], budget), reverse=reverse)


def _math(function: Callable[[float], float]) -> Callable[..., Any]:
    return lambda _, value: checked(function(_scalar(value)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "len": _length,
    "max": lambda budget, *values: max(_scalars(list(values), budget)),
    "min": lambda budget, *values: min(_scalars(list(values), budget)),
    "sum": lambda budget, values: checked(sum(_scalars([values], budget))),
    "abs": lambda _, value: abs(_scalar(value)),
    "round": lambda _, value, digits=None: round(_scalar(value), digits),
    "dict": _dict,
    "list": lambda budget, values=(): listed(values, budget),
    "tuple": lambda budget, values=(): tuple(listed(values, budget)),
    "int": _int,
    "float": lambda _, value=0: float(_scalar(value)),
    "str": lambda budget, value="": text_of(value, budget),
    "bool": lambda _, value=False: truth(value),
    "any": lambda budget, values: any(map(truth, listed(values, budget))),
    "all": lambda budget, values: all(map(truth, listed(values, budget))),
    "sorted": _sorted,
    "reversed": lambda budget, values: listed(values, budget)[::-1],
    "zip": lambda budget, *values: list(zip(*(listed(value, budget) for value in values), strict=False)),
    "enumerate": lambda budget, values, start=0: list(enumerate(listed(values, budget), start)),
}

# By dotted name, as the file imports them.
LIBRARY: dict[str, Callable[..., Any]] = {
    "copy.deepcopy": copied,
    "copy.copy": shallow,
    "omegaconf.OmegaConf.create": lambda budget, value=None: _config(budget, value),
    "omegaconf.DictConfig": lambda budget, value=None: _config(budget, value),
    "omegaconf.ListConfig": lambda budget, value=(): _config(budget, value),
    **{f"math.{f.__name__}": _math(f) for f in (math.ceil, math.floor, math.sqrt, math.log, math.log2, math.exp)},
}


def _config(budget: Budget, value: Any) -> Any:
    if value is None:
        return Table("config")
    if not isinstance(value, Table | Items | list | tuple):
        raise outside(f"a config made of a {kind_of(value)}")
    return adopted(value, None, budget)


def _pop(table: Table | Items, budget: Budget, key: Any = -1, *default: Any) -> Any:
    budget.spend()
    if default and isinstance(table, Table) and _absent(table, key):
        return default[0]
    value = read(table, key)
    remove(table, key)
    return value


def _absent(table: Table, key: Any) -> bool:
    return type(key) not in (str, int) or key not in table.entries


def _get(table: Table, _: Budget, key: Any, default: Any = None) -> Any:
    return default if _absent(table, key) else read(table, key)


def _set_default(table: Table, budget: Budget, key: Any, default: Any = None) -> Any:
    if _absent(table, key):
        put(table, key, default, budget)
    return read(table, key)


def _insert(items: Any, budget: Budget, index: Any, *values: Any) -> None:
    entries = items.entries if isinstance(items, Items) else items
    if len(entries) + len(values) > MAX_ITEMS or type(index) is not int:
        raise outside(f"a list of more than {MAX_ITEMS} items, or no position in it")
    budget.spend(len(values) + 1)
    is_config = isinstance(items, Items)
    entries[index:index] = [adopted(value, items, budget) if is_config else value for value in values]


def _append(items: Any, budget: Budget, value: Any) -> None:
    _insert(items, budget, _length(budget, items), value)


def _extend(items: Any, budget: Budget, values: Any) -> None:
    _insert(items, budget, _length(budget, items), *listed(values, budget))


def _list_pop(items: list[Any], _: Budget, index: int = -1) -> Any:
    return items.pop(index)


def _join(text: str, budget: Budget, values: Any) -> str:
    parts = listed(values, budget)
    size = sum(len(part) + len(text) if isinstance(part, str) else MAX_TEXT for part in parts)
    return str(_sized(size, lambda: text.join(parts), budget))


METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    Table: {
        "update": _update,
        "pop": _pop,
        "get": _get,
        "setdefault": _set_default,
        "keys": lambda table, _: list(each(table)),
        "values": lambda table, _: [read(table, key) for key in each(table)],
        "items": lambda table, _: [(key, read(table, key)) for key in each(table)],
        "copy": lambda table, budget: shallow(budget, table),
    },
    Items: {"append": _append, "extend": _extend, "insert": _insert, "pop": _pop, "copy": lambda i, b: shallow(b, i)},
    list: {"append": _append, "extend": _extend, "insert": _insert, "pop": _list_pop, "copy": lambda i, _: list(i)},
    str: {
        "lower": lambda text, _: text.lower(),
        "upper": lambda text, _: text.upper(),
        "strip": lambda text, _: text.strip(),
        "split": lambda text, budget, by=None: listed(text.split(by), budget),
        "join": _join,
        "startswith": lambda text, _, start: text.startswith(start),
        "endswith": lambda text, _, end: text.endswith(end),
    },
}
