"""Overrides of a LazyConfig, in the simple forms of hydra's grammar that detectron2's tools take.

model.roi_heads.num_classes=3, model.roi_heads.box_heads.0.fc_dims=[512], ~model.roi_heads.mask_head. The value is a
Python literal, null, true, false, a list or mapping in YAML's flow style, or else a text. `+` and `++` before the name
are accepted: a last key that is not there is made in any case, because a config leaves out what has a default.
"""

import ast
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from d2deploy.config.lazy.values import Budget, Items, Problem, Table, has, key_in, put, read, remove, short
from d2deploy.config.loader import parse_tree
from d2deploy.errors import ConfigError

MAX_TEXT = 10_000
_WORDS = {"null": None, "none": None, "true": True, "false": False}


def overridden(root: Table, override: str, *, where: str) -> None:
    """Change `root` as `override` says. Raises ConfigError: no `=`, a section that the config does not have."""
    name, has_value, text = override.partition("=")
    is_removal = name.startswith("~")
    parts = name.lstrip("+~").strip().split(".")
    if not all(parts) or (has_value and is_removal) or (not has_value and not is_removal) or len(override) > MAX_TEXT:
        raise ConfigError(f"The override {short(override)} is none: write model.key=value, or ~model.key to remove it.")
    try:
        holder: Any = root
        for depth, part in enumerate(parts[:-1]):
            holder = _inner(holder, part, ".".join(parts[: depth + 1]), where)
        if not isinstance(holder, Table | Items):
            raise _no_section(".".join(parts[:-1]), where, [])
        if is_removal:
            remove(holder, key_in(holder, parts[-1]))
        else:
            put(holder, key_in(holder, parts[-1]), value_of(text), Budget())
    except Problem as problem:
        raise ConfigError(f"The override {short(override)} does not fit {where}: {problem}.") from problem


def value_of(text: str) -> Any:
    """The value that the text after `=` stands for."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _from_yaml(text) if text[:1] in ("[", "{") else text
    return _tables(value)


def _from_yaml(text: str) -> Any:
    tree = parse_tree(f"value: {text}", Path("the override"))
    return _tables(tree["value"])


def _tables(value: Any) -> Any:
    """Mappings as tables; what no config holds is left for the config to refuse."""
    if isinstance(value, list | tuple):
        return [_tables(item) for item in value]
    if not isinstance(value, dict):
        return value
    table = Table("dict")
    for key, item in value.items():
        put(table, key, _tables(item), Budget())
    return table


def _inner(holder: Any, part: str, name: str, where: str) -> Any:
    if has(holder, part):
        return read(holder, key_in(holder, part))
    raise _no_section(name, where, list(holder.entries) if isinstance(holder, Table) else [])


def _no_section(name: str, where: str, known: list[Any]) -> ConfigError:
    near = get_close_matches(name.rpartition(".")[2], map(str, known), n=1)
    hint = f" The nearest is {near[0]}." if near else ""
    return ConfigError(f"An override goes into {name}, which {where} does not have.{hint}")
