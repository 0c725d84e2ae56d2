"""Where the files of a LazyConfig come from: beside the one that asks, or the configs that d2deploy carries."""

import ast
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from d2deploy.config.lazy.values import Problem, outside
from d2deploy.errors import ConfigError

MAX_BYTES = 200_000  # the largest official config has 5,500
MAX_FILES = 60  # read for one config


@dataclass(frozen=True)
class Source:
    """A config file, parsed. `path`: on disk; `key`: its name among the carried ones. One of them is None."""

    label: str
    tree: ast.Module
    text: str
    path: Path | None = None
    key: str | None = None


class Files:
    """All files that one config leads to; each is read once."""

    def __init__(self, carried: Mapping[str, str]) -> None:
        self.carried = carried
        self._known: dict[str, Source] = {}

    def open(self, path: Path) -> Source:
        """The file at `path`. Raises ConfigError: no such file, not text, too large, not Python."""
        label = str(path)
        if label not in self._known:
            self._keep(label, parsed(_text(path), label, path=path))
        return self._known[label]

    def named(self, key: str) -> Source:
        """One of the carried files."""
        return self._carried(key, "the model zoo's")

    def relative(self, asking: Source, level: int, module: str) -> Source:
        """The file that `from ..module import` means in `asking`."""
        steps = "/".join([*[".."] * (level - 1), *module.split(".")]) + ".py"
        if asking.path is None:
            key = os.path.normpath(PurePosixPath(asking.key or "").parent / steps)
            return self._carried(key, f"{asking.label} imports {'.' * level}{module}, but")
        path = Path(os.path.normpath(asking.path.absolute().parent / steps))
        if path.is_file():
            return self.open(path)
        key = self._carried_like(path, asking.path.absolute())
        return self._carried(key, f"{path}, which is imported, does not exist, and") if key else _absent(path)

    def _carried_like(self, path: Path, asking: Path) -> str:
        """The carried file that stands for `path`, where that is not: "" when there is none.

        A config that was copied alone lacks its folders, so that only the end of the path is known. Raises Problem:
        several files end so, and neither the asking file's name nor its place tells which of them is meant.
        """
        parts = path.parts[1:]
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            found = [end] if end in self.carried else [key for key in self.carried if key.endswith(f"/{end}")]
            asking_end = os.path.relpath(asking, Path("/", *parts[:start]))
            for is_meant in (self._has_name, self._has_depth):
                found = [key for key in found if is_meant(key.removesuffix(end), asking_end)] or found
            if len(found) > 1:
                raise Problem(
                    f"{path}, which is imported, does not exist, and may be any of {', '.join(found)}; "
                    f"put the file into a folder of the same name as that one's"
                )
            if found:
                return found[0]
        return ""

    def _has_name(self, root: str, asking: str) -> bool:
        """Whether there is a carried config in the asking file's place below `root`."""
        return f"{root}{asking}" in self.carried

    def _has_depth(self, root: str, asking: str) -> bool:
        """Whether there is a carried config, not one for all of them, as many folders below `root`."""
        below = [key.removeprefix(root) for key in self.carried if key.startswith(root)]
        return any(key.count("/") == asking.count("/") and not key.startswith("common/") for key in below)

    def zoo(self, asking: Source, name: str) -> Source:
        """The file that model_zoo.get_config(name) means: a carried one, else one in a folder configs/ above."""
        if not name.endswith(".py") or ".." in name.split("/") or name.startswith("/"):
            raise outside(f"get_config({name!r}): only LazyConfigs (.py) of the model zoo are read")
        if name not in self.carried and asking.path is not None:
            for folder in asking.path.absolute().parents:
                if (folder / "configs" / name).is_file():
                    return self.open(folder / "configs" / name)
        return self._carried(name, f"get_config({name!r}):")

    def beside(self, asking: Source, name: str) -> Source:
        """The file that LazyConfig.load_rel(name) means in `asking`."""
        if asking.path is None:
            return self._carried(os.path.normpath(PurePosixPath(asking.key or "").parent / name), f"load_rel({name}):")
        return self.open(Path(os.path.normpath(asking.path.absolute().parent / name)))

    def _carried(self, key: str, why: str) -> Source:
        if key not in self.carried:
            raise Problem(f"{why} {key} is none of the configs that d2deploy carries")
        label = f"detectron2's {key}"
        if label not in self._known:
            self._keep(label, parsed(self.carried[key], label, key=key))
        return self._known[label]

    def _keep(self, label: str, source: Source) -> None:
        if len(self._known) >= MAX_FILES:
            raise Problem(f"the config leads to more than {MAX_FILES} files")
        self._known[label] = source


def parsed(text: str, label: str, *, path: Path | None = None, key: str | None = None) -> Source:
    """The syntax tree of `text`. Raises ConfigError: not Python, or nested too deep for Python's parser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, filename=label)
    except SyntaxError as error:
        raise ConfigError(
            f"{label}, line {error.lineno or 1}: not Python: {error.msg}. Mend the file there."
        ) from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise ConfigError(f"{label} is no config that can be read: {str(error) or 'nested too deep'}.") from error
    return Source(label, tree, text, path, key)


def _absent(path: Path) -> Source:
    raise Problem(f"{path}, which is imported, does not exist; the configs that belong together must lie together")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path} has more than {MAX_BYTES} bytes: no config. Give detectron2's config file.")
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist. Give the path of a LazyConfig (.py).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text, so it is no config. Give the path of a LazyConfig (.py).") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
