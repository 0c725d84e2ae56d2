"""detectron2's LazyConfigs: a `.py` file, read without running it, or the `config.yaml` that is a dump of one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.files import Source
from d2deploy.config.lazy.node import LazyNode, opened
from d2deploy.config.lazy.override import overridden
from d2deploy.config.lazy.statement import Interpreter
from d2deploy.config.lazy.values import Budget, Problem, Table
from d2deploy.config.lazy.yaml import read_lazy_tree
from d2deploy.errors import ConfigError


def read_lazy_config(
    path: str | Path, overrides: Sequence[str] = (), *, carried: Mapping[str, str] = BASES
) -> LazyNode:
    """The config that a LazyConfig file (.py) describes, under `overrides` (see lazy/override.py).

    What the file imports relatively lies beside it, as do the configs of model_zoo.get_config in a folder configs/
    above; where they do not, `carried` has them: {path below detectron2's configs/: text}. No code of any file runs.
    Raises ConfigError, which names file and line: no such file, not Python, a reference or import that leads to
    nothing, anything that only running the file could tell, more steps or values than a config may take.
    """
    return _interpreted(lambda interpreter: interpreter.files.open(Path(path)), str(path), overrides, carried)


def read_carried(name: str, overrides: Sequence[str] = (), *, carried: Mapping[str, str] = BASES) -> LazyNode:
    """As read_lazy_config, of one of the configs that d2deploy carries itself. Raises ConfigError."""
    return _interpreted(lambda interpreter: interpreter.files.named(name), f"detectron2's {name}", overrides, carried)


def read_lazy_yaml(path: str | Path, overrides: Sequence[str] = ()) -> LazyNode:
    """The config in a YAML dump with `_target_` names, under `overrides`. Raises ConfigError as read_lazy_config does.

    Python objects in it become what they name: a ShapeSpec and a functools.partial a Call, a class a Symbol, a lambda
    Code without text (detectron2 does not write it).
    """
    return _finished(str(path), read_lazy_tree(Path(path)), overrides)


def is_lazy(path: str | Path) -> bool:
    """Whether a config file is to be read here: a .py file, or a YAML file that holds `_target_`.

    False for a file that cannot be read, so that the reader of plain YAML configs says what is wrong with it.
    """
    path = Path(path)
    if path.suffix == ".py":
        return True
    try:
        with path.open("rb") as file:
            return b"_target_:" in file.read(1_000_000)
    except (OSError, ValueError):
        return False


def _interpreted(
    source: Callable[[Interpreter], Source], label: str, overrides: Sequence[str], carried: Mapping[str, str]
) -> LazyNode:
    interpreter = Interpreter(carried, Budget())
    try:
        root = interpreter.config(source(interpreter))
    except Problem as problem:
        raise ConfigError(f"{label}: {problem}. Mend the file.") from problem
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{label} is nested too deep to be read. Give detectron2's config file.") from error
    if not root.entries:
        raise ConfigError(f"{label} defines no config: no mapping such as `model`. Give detectron2's config file.")
    return _finished(label, root, overrides)


def _finished(label: str, root: Table, overrides: Sequence[str]) -> LazyNode:
    for override in overrides:
        overridden(root, override, where=label)
    return opened(root, label)
