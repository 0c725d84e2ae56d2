"""Users' own parts by name: what a config's NAME keys may say beyond what d2deploy builds itself.

The names are detectron2's (modeling/*/build.py), and so is the way a part is made: part(cfg, input_shape), where `cfg`
reads like detectron2's config node. No torch here: d2deploy.modeling has the classes to write parts with.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from d2deploy.errors import ConfigError

Part = TypeVar("Part", bound=Callable[..., Any])


class Registry(Mapping[str, Callable[..., Any]]):
    """Parts of one kind: name -> class or function that makes it.

    @BACKBONE_REGISTRY.register()
    class MyBackbone(Backbone): ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Callable[..., Any]] = {}

    def register(self, part: Part | None = None) -> Any:
        """Adds `part` under its own name; without it, gives a decorator that does. Raises ConfigError: name taken."""
        if part is None:
            return self.register
        name = part.__name__
        known = self._parts.get(name)
        # A module that is run again (python -m, a notebook cell) registers the same part anew.
        if known is not None and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise ConfigError(
                f"A {self.kind} {name!r} is registered already, by {known.__module__}. Rename one of them."
            )
        self._parts[name] = part
        return part

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


BACKBONE_REGISTRY = Registry("backbone")
PROPOSAL_GENERATOR_REGISTRY = Registry("proposal generator")
ROI_HEADS_REGISTRY = Registry("RoI heads")
ROI_BOX_HEAD_REGISTRY = Registry("box head")
ROI_MASK_HEAD_REGISTRY = Registry("mask head")
ROI_KEYPOINT_HEAD_REGISTRY = Registry("keypoint head")
SEM_SEG_HEADS_REGISTRY = Registry("semantic head")
META_ARCH_REGISTRY = Registry("meta-architecture")

CONFIG_REGISTRY = Registry("config extension")
"""Functions that add keys to the config before a file is read: add_my_config(cfg), as detectron2's projects have."""


def import_parts(name: str) -> None:
    """Run a module that registers parts: `my_package.my_module`, or a file `parts.py`. Raises ConfigError.

    This runs the module's code: it is the user's own, named by the user, never by a config or a checkpoint.
    """
    try:
        if name.endswith(".py"):
            _run_file(Path(name))
        else:
            sys.path.insert(0, "")  # as python -m: a module beside the user is found
            try:
                importlib.import_module(name)
            finally:
                sys.path.remove("")
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's module raises
        raise ConfigError(
            f"{name} cannot be imported: {type(error).__name__}: {error}. Mend it, or its name."
        ) from error


def _run_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"{path} is no file. Give a module's name, or the path of a .py file.")
    name = path.stem
    if name in sys.modules:
        name = f"d2deploy_import_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
