"""detectron2's YAML configs: `_BASE_`, old versions, overrides, defaults.

The steps and their order are detectron2's (config/config.py at 02b5c4e2, fvcore/common/config.py): read the chain of
bases, lay child over base, bring the result to version 2, lay it over the defaults, then the overrides over that.
The defaults are detectron2's own and those of its projects that the config uses (projects.py).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from d2deploy.config.extensions import extended
from d2deploy.config.keys import hint, names, split
from d2deploy.config.loader import read_tree
from d2deploy.config.merge import fitted, inherited, merged
from d2deploy.config.node import Node
from d2deploy.config.projects import defaults, used_projects
from d2deploy.config.versions import OLD_NAMES, has, upgraded, version_of
from d2deploy.errors import ConfigError, UnknownKey

BASE = "_BASE_"
MAX_FILES = 100  # in a chain of bases
_SHOWN = 20  # unknown keys in one message


class Layer(NamedTuple):
    """One file's own keys, without those of its bases."""

    path: Path
    tree: dict[str, Any]


def read_config(path: str | Path, overrides: Sequence[Any] = ()) -> Node:
    """The whole config: detectron2's defaults, under the file and its bases, under `overrides` (KEY VALUE KEY VALUE).

    Raises ConfigError (no such file, not YAML, a value of the wrong type, ...); UnknownKey names every unknown key of
    all files at once, each with the nearest known one. Keys that only training needs are accepted and ignored.
    """
    path = Path(path)
    if path.suffix == ".py":
        raise ConfigError(f"{path} is a LazyConfig, which is no base of a YAML config. Give a YAML config.")
    layers = _upgraded(_layers(path, ()))
    base = extended(defaults(used_projects(_folded(layers), overrides)))
    layers = _known(layers, base)
    config = merged(_folded(layers), base, where=_finder(layers))
    return Node(_overridden(config, overrides))


def _layers(path: Path, children: tuple[Path, ...]) -> list[Layer]:
    """`path` and all its bases, the one that others go over first."""
    tree = read_tree(path)
    where = Path(os.path.realpath(path))
    if where in children:
        chain = " -> ".join(str(file) for file in (*children[children.index(where) :], where))
        raise ConfigError(f"{BASE} leads back to where it began: {chain}. Remove one of the links.")
    layers: list[Layer] = []
    for base in _bases(tree.pop(BASE, None), path):
        if len(layers) + len(children) >= MAX_FILES:
            raise ConfigError(f"{BASE} in {path} leads to more than {MAX_FILES} files. Shorten the chain.")
        layers += _layers(base, (*children, where))
    return [*layers, Layer(path, tree)]


def _bases(given: Any, path: Path) -> Iterable[Path]:
    for base in given if isinstance(given, list | tuple) else () if given is None else (given,):
        if not isinstance(base, str) or not base:
            raise ConfigError(f"{BASE} in {path} is {base!r}; it must be the path of a config, or a list of such.")
        if "://" in base:
            raise ConfigError(f"{BASE} in {path} is {base}; d2deploy reads no config from the network. Download it.")
        file = path.parent / os.path.expanduser(base)
        if not os.path.isfile(file):
            raise ConfigError(f"{BASE} in {path} is {base}; {file} does not exist or is no file. Mend the path.")
        yield file


def _upgraded(layers: list[Layer]) -> list[Layer]:
    whole = _folded(layers)
    version = version_of(whole, layers[-1].path)
    model = whole.get("MODEL")
    meta_architecture = model.get("META_ARCHITECTURE") if isinstance(model, dict) else None
    return [
        Layer(path, upgraded(tree, version, meta_architecture=meta_architecture, path=path)) for path, tree in layers
    ]


def _folded(layers: list[Layer]) -> dict[str, Any]:
    def over(base: dict[str, Any], child: Layer) -> dict[str, Any]:
        return inherited(child.tree, base, where=str(child.path))

    start: dict[str, Any] = {}
    return reduce(over, layers, start)


def _known(layers: list[Layer], base: Mapping[str, Any]) -> list[Layer]:
    kept: list[Layer] = []
    strays: list[tuple[str, str]] = []
    for path, tree in layers:
        known, unknown = split(tree, base)
        kept.append(Layer(path, known))
        strays += ((name, str(path)) for name in unknown)
    if strays:
        raise _unknown(strays, base)
    return kept


def _unknown(strays: list[tuple[str, str]], base: Mapping[str, Any]) -> UnknownKey:
    known = list(names(base))
    lines = [f"  {name} in {where}: {hint(name, known, OLD_NAMES)}" for name, where in strays[:_SHOWN]]
    if len(strays) > _SHOWN:
        lines.append(f"  and {len(strays) - _SHOWN} more")
    return UnknownKey("Config keys that detectron2 does not have:\n" + "\n".join(lines))


def _finder(layers: list[Layer]) -> Callable[[str], str]:
    """Says which file a key was last written in."""

    def where(name: str) -> str:
        return next(str(path) for path, tree in reversed(layers) if has(tree, name))

    return where


def _overridden(config: dict[str, Any], overrides: Sequence[Any]) -> dict[str, Any]:
    if len(overrides) % 2:
        words = " ".join(map(str, overrides))
        raise ConfigError(f"Overrides are pairs, KEY VALUE KEY VALUE; these are {len(overrides)} words: {words}")
    if not overrides:
        return config
    pairs = list(zip(map(str, overrides[::2]), overrides[1::2], strict=True))
    strays: list[tuple[str, str]] = []
    for name, value in pairs:  # one may add the keys that the next changes
        if has(config, name):
            config = _with(config, name.split("."), name, value)
        else:
            strays.append((name, "the overrides"))
    if strays:
        raise _unknown(strays, config)
    return config


def _with(tree: dict[str, Any], parts: list[str], name: str, value: Any) -> dict[str, Any]:
    first, *rest = parts
    if rest:
        return {**tree, first: _with(tree[first], rest, name, value)}
    return {**tree, first: fitted(name, value, tree[first], where=lambda _: "the overrides")}
