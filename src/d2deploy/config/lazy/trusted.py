"""A LazyConfig run as Python, for those who trust it: what the interpreter of statement.py does not understand.

Nothing of Python is changed meanwhile: the file gets an `import` of its own. There detectron2, and what its configs
build training from, are names (live.py), relative imports are files as detectron2 finds them (config/lazy.py at
02b5c4e2), and all else is imported as ever. What comes out is the same config as if the file had only been read.
"""

import builtins
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.files import Files, Source
from d2deploy.config.lazy.live import MODULE, LazyCall, Listing, Name, Section, live, stored
from d2deploy.config.lazy.node import LazyNode, opened
from d2deploy.config.lazy.override import overridden
from d2deploy.config.lazy.values import Budget, Problem, Table, adopted, plain, put
from d2deploy.errors import ConfigError

NAMED = ("detectron2", "fvcore", "iopath", "omegaconf", "torch", "torchvision")


def run_lazy_config(path: str | Path, overrides: Sequence[str] = (), *, carried: Mapping[str, str] = BASES) -> LazyNode:
    """As read_lazy_config, but the file and all that it imports are executed.

    Raises ConfigError: no such file, not Python, an exception of the file's own code (with its line), no config.
    """
    runner = _Runner(carried)
    root = runner.config(runner.files.open(Path(path)))
    if not root.entries:
        raise ConfigError(f"{path} defines no config: no mapping such as `model`. Give detectron2's config file.")
    for override in overrides:
        overridden(root, override, where=str(path))
    return opened(root, str(path))


class _Runner:
    """One run of a config with all that it imports."""

    def __init__(self, carried: Mapping[str, str]) -> None:
        self.files = Files(carried)

    def config(self, source: Source) -> Table:
        """The mappings and lists that a file defines."""
        root = Table("config")
        for name, value in self.names(source).items():
            if isinstance(value, Section | Listing | dict) and not name.startswith("_"):
                put(root, name, stored(value), Budget())
        return root

    def names(self, source: Source) -> dict[str, Any]:
        """All names that a file defines, by running it. A file is run again each time: nothing is shared."""
        names: dict[str, Any] = {"__file__": source.label, "__name__": MODULE}
        names["__builtins__"] = {**vars(builtins), "__import__": self._import_for(source)}
        try:
            exec(compile(source.text, source.label, "exec", dont_inherit=True), names)  # its user trusts it
        except Exception as error:
            if isinstance(error, ConfigError) and not isinstance(error, Problem):
                raise  # of a file that this one imports, and says so
            raise _located(error, source) from error
        except SystemExit as error:
            raise _located(error, source) from error
        return {name: value for name, value in names.items() if not name.startswith("__")}

    def _import_for(self, source: Source) -> Callable[..., Any]:
        """The `import` that a file gets."""
        special = self._special(source)

        def named(name: str, wanted: Any) -> Name:
            return Name(name if wanted else name.partition(".")[0], special)

        def import_(name: str, *place: Any) -> Any:
            given: list[Any] = [*place, *(None, None, (), 0)[len(place) :]]
            names, local, wanted, level = given
            if level and names is not None and names.get("__name__") == MODULE:
                return self._relative(source, name, level)
            if name.partition(".")[0] in NAMED:
                return named(name, wanted)
            try:
                return builtins.__import__(name, names, local, wanted, level)
            except ModuleNotFoundError:
                return named(name, wanted)

        return import_

    def _relative(self, source: Source, module: str, level: int) -> SimpleNamespace:
        """A config that is imported: its dicts become sections of a config."""
        names = self.names(self.files.relative(source, level, module))
        return SimpleNamespace(**{name: _config(v) if isinstance(v, dict) else v for name, v in names.items()})

    def _special(self, source: Source) -> dict[str, Any]:
        """What has a meaning among the names, for code of `source`."""

        def get_config(config_path: str, trained: bool = False) -> Section:
            return Section(self.config(self.files.zoo(source, config_path)))

        def load(filename: str, keys: Any = None) -> Any:
            section = Section(self.config(self.files.beside(source, filename)))
            if keys is None:
                return section
            return section[keys] if isinstance(keys, str) else tuple(section[key] for key in keys)

        lazy = {"LazyCall": LazyCall, "LazyConfig": SimpleNamespace(load=load, load_rel=load)}
        return {
            **{f"detectron2.config{inner}.{name}": value for inner in ("", ".lazy") for name, value in lazy.items()},
            **{f"detectron2.model_zoo{inner}.get_config": get_config for inner in ("", ".model_zoo")},
            "omegaconf.OmegaConf": SimpleNamespace(create=_config, to_container=_container),
            "omegaconf.DictConfig": _config,
            "omegaconf.ListConfig": _config,
        }


def _config(value: Any = None, **_: Any) -> Any:
    """OmegaConf.create."""
    return live(adopted(stored({} if value is None else value), None, Budget()))


def _container(value: Any, **_: Any) -> Any:
    """OmegaConf.to_container: dicts and lists of Python."""
    return plain(stored(value), Budget())


def _located(error: BaseException, source: Source) -> ConfigError:
    """The error that says where in the file its code failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source.label]
    where = f"{source.label}, line {lines[-1]}" if lines else source.label
    said = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
    return ConfigError(f"{where}: the config's own code failed: {said}. Mend the file.")
