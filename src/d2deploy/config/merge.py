"""How one config goes over another: yacs' rules (reference: yacs/config.py 0.1.8, fvcore/common/config.py)."""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from d2deploy.config.keys import is_open
from d2deploy.errors import ConfigError

_PLAIN = (tuple, list, str, int, float, bool, type(None))
_MAX_LITERAL = 10_000  # characters; a longer text stays a text


def inherited(child: Mapping[str, Any], base: Mapping[str, Any], *, where: str, prefix: str = "") -> dict[str, Any]:
    """`child` over its `_BASE_`: sections key by key, anything else replaced whole, no types compared yet.

    Raises ConfigError for a section over a value.
    """
    merged = dict(base)
    for key, value in child.items():
        if isinstance(value, dict) and key in base:
            if not isinstance(base[key], dict):
                raise ConfigError(f"{prefix}{key} is a section in {where}, but {base[key]!r} in its _BASE_. Mend one.")
            value = inherited(value, base[key], where=where, prefix=f"{prefix}{key}.")
        merged[key] = value
    return merged


def merged(
    new: Mapping[str, Any], old: Mapping[str, Any], *, where: Callable[[str], str], prefix: str = ""
) -> dict[str, Any]:
    """`new` over `old`, each value read as a literal and fitted to the old one's type; every key must be in `old`.

    What stands in an open section is taken as it is.

    `where` says for a dotted name where the user wrote it. Raises ConfigError for a value of another type.
    """
    result = dict(old)
    for key, value in new.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(old[key], dict) and not is_open(old[key]):
            result[key] = merged(value, old[key], where=where, prefix=f"{name}.")
        else:
            result[key] = fitted(name, value, old[key], where=where)
    return result


def fitted(name: str, value: Any, old: Any, *, where: Callable[[str], str]) -> Any:
    """`value` for the key that holds `old`: of its type; a list for a tuple and the reverse; None and anything.

    A section that takes any keys is replaced whole; numbers as its keys become texts.

    An int is no float and a bool no int, as in detectron2: NMS_THRESH 1 is refused, 1.0 is meant.
    """
    value = decoded(value)
    if is_open(old) and isinstance(value, dict):
        return _with_text_keys(value)
    if type(value) is type(old) and not isinstance(old, dict):
        return value
    if None in (value, old) and isinstance(value, _PLAIN) and isinstance(old, _PLAIN):
        return value
    if isinstance(value, list | tuple) and isinstance(old, list | tuple):
        return type(old)(value)
    raise ConfigError(f"{name} in {where(name)} is {_described(value)}; {_expected(value, old)}")


def decoded(value: Any) -> Any:
    """A text that is a Python literal as what it says, "(800,)" or "1e-3"; any other value unchanged."""
    if not isinstance(value, str) or len(value) > _MAX_LITERAL or _is_word(value):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value


def _with_text_keys(section: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _with_text_keys(value) if isinstance(value, Mapping) else value for key, value in section.items()}


def _is_word(text: str) -> bool:
    # Most texts in a config are names: no need to parse them.
    return text.isidentifier() and text not in ("True", "False", "None")


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return "a section with keys of its own"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({_kind(value)})"


def _expected(value: Any, old: Any) -> str:
    if is_open(old):
        return "it is a section of your own keys, such as {'0': 'a'}."
    if isinstance(old, dict):
        return f"it is a section. Set one of its keys: {', '.join(old)}."
    example = repr(old)
    if type(value) is int and type(old) is float:
        example = f"{value}.0"
    elif isinstance(old, list | tuple) and isinstance(value, str | int | float):
        example = repr(type(old)((value,)))
    return f"detectron2 wants {_kind(old)}, such as {example if len(example) <= 80 else repr(old)}."


def _kind(value: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a float", bool: "true or false", type(None): "nothing"}
    return words.get(type(value), f"a {type(value).__name__}")
