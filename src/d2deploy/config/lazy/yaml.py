"""The YAML dump of a LazyConfig: plain YAML with `_target_` names, and tags for the Python objects that were in it."""

import re
from pathlib import Path
from typing import Any

import yaml

from d2deploy.config import loader
from d2deploy.config.lazy.values import (
    ARGS,
    MAX_DEPTH,
    PARTIAL,
    Budget,
    Code,
    Problem,
    Symbol,
    Table,
    called,
    outside,
    put,
    short,
)
from d2deploy.errors import ConfigError

MAX_VALUES = 50_000
_PYTHON = "tag:yaml.org,2002:python/"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def read_lazy_tree(path: Path) -> Table:
    """The YAML file as tables. Raises ConfigError: not YAML, no mapping, a tag that has no meaning here, too large."""
    text = loader._read(path)
    try:
        loader._check_nesting(text)
        tree = yaml.load(text, Loader=_LazyLoader)
        if not isinstance(tree, dict) or not tree:
            raise ConfigError(f"{path} is not a mapping of keys such as model. Give the config.yaml of a LazyConfig.")
        root = Table("config")
        budget = Budget(MAX_VALUES)
        for key, value in tree.items():
            put(root, key, _table(value, budget, 0), budget)
        return root
    except Problem as problem:
        raise ConfigError(f"{path}: {problem}. Write the value itself.") from problem
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem_text = (error.problem or error.context or "").replace("tag:yaml.org,2002:", "!!")
        raise ConfigError(f"{path}{line}: {problem_text}. Write the value itself.") from error
    except loader._YAML_ERRORS as error:
        raise ConfigError(f"{path} is not a YAML file that can be read: {error or type(error).__name__}.") from error


class _LazyLoader(loader._Loader):
    """The loader of plain configs, plus the tags of detectron2's LazyConfig.save, which only name things."""

    def named(self, suffix: str, node: Any) -> Any:
        # A lambda's name ends in <lambda>: the dump does not say what it does.
        return Symbol(suffix) if _DOTTED.fullmatch(suffix) else Code(suffix)

    def instance(self, suffix: str, node: Any) -> Any:
        if not isinstance(node, yaml.MappingNode) or not _DOTTED.fullmatch(suffix):
            raise loader._problem(f"the object {short(suffix)} is not written as a mapping", node)
        return called(suffix, self._mapping(node), "object")

    def partial(self, node: Any) -> Any:
        parts = self._mapping(node) if isinstance(node, yaml.MappingNode) else {}
        match parts.get("state"):
            case (Symbol(name=target), tuple() as values, dict() | None as keywords, *_):
                positional = {ARGS: list(values)} if values else {}
                return called(target, {PARTIAL: True, **positional, **(keywords or {})}, "object")
        raise loader._problem("a functools.partial that is not written as Python does", node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        mapping: dict[Any, Any] = self.construct_mapping(node, deep=True)
        return mapping


_LazyLoader.add_multi_constructor(f"{_PYTHON}name:", _LazyLoader.named)
_LazyLoader.add_multi_constructor(f"{_PYTHON}object:", _LazyLoader.instance)
_LazyLoader.add_constructor(f"{_PYTHON}object/apply:functools.partial", _LazyLoader.partial)


def _table(value: Any, budget: Budget, depth: int) -> Any:
    """Mappings as tables; aliases are counted each time they are named."""
    budget.spend()
    if depth > MAX_DEPTH:
        raise Problem(f"values are nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list | tuple):
        return [_table(item, budget, depth + 1) for item in value]
    if isinstance(value, dict | Table):
        table = Table("object" if isinstance(value, Table) else "dict")
        for key, item in (value.entries if isinstance(value, Table) else value).items():
            table.entries[_key(key)] = _table(item, budget, depth + 1)
        return table
    return value


def _key(key: Any) -> Any:
    if type(key) not in (str, int) or (isinstance(key, str) and key.startswith("__")):
        raise outside(f"{short(repr(key))} cannot be a key")
    return key
