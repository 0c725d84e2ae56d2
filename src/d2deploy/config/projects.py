"""detectron2's projects: the keys that each adds to the config, laid over the defaults where a config uses the project.

The facts are in projects.yaml. A project is used by a config that names one of its keys or one of its parts.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from d2deploy.config.keys import is_training_only, names
from d2deploy.config.loader import read_tree
from d2deploy.config.merge import decoded, inherited

_DATA = Path(__file__).with_name("projects.yaml")
_DEFAULTS = Path(__file__).with_name("defaults.yaml")


class Project(NamedTuple):
    """What one project adds."""

    defaults: dict[str, Any]
    signs: frozenset[str]  # keys and parts that only it has, dotted names and texts; no key of training alone
    needs: str  # a project whose keys are added too; "": none


@cache
def defaults(projects: tuple[str, ...] = ()) -> dict[str, Any]:
    """detectron2's defaults and those of `projects`; shared, so never changed."""
    tree = _literal(read_tree(_DEFAULTS))
    for name in projects:
        tree = inherited(known_projects()[name].defaults, tree, where=str(_DATA))
    return tree


@cache
def known_projects() -> Mapping[str, Project]:
    """All of them, each after the one that it needs."""
    return {name: _project(row) for name, row in read_tree(_DATA).items()}


def _project(row: Mapping[str, Any]) -> Project:
    added = _literal(row["DEFAULTS"])
    keys = {key for key in names(added) if not is_training_only(key)} - set(names(defaults()))
    return Project(added, frozenset({*keys, *row["PARTS"]}), row.get("NEEDS", ""))


def used_projects(tree: Mapping[str, Any], overrides: Iterable[Any] = ()) -> tuple[str, ...]:
    """The projects that a config uses: `tree` are its files' own keys, `overrides` are KEY VALUE KEY VALUE."""
    seen = {*_signs(tree), *(sign for word in overrides if isinstance(word, str) for sign in _sections(word))}
    projects = known_projects()
    wanted = {name for name, project in projects.items() if seen & project.signs}
    wanted |= {projects[name].needs for name in wanted}
    return tuple(name for name in projects if name in wanted)


def _signs(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all sections and keys, and the values that are texts."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _signs(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield value


def _sections(key: str) -> Iterator[str]:
    """A dotted key and the sections that it lies in."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _literal(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _literal(value) if isinstance(value, Mapping) else decoded(value) for key, value in tree.items()}
