"""detectron2's official models: names, configs, published numbers, weights.

The facts are in zoo.yaml. A YAML config is a list of named parts over detectron2's defaults, and read like any other; a
LazyConfig is one of those that d2deploy carries (lazy/bases.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.node import LazyNode
from d2deploy.config.lazy.read import read_carried
from d2deploy.config.loader import read_tree
from d2deploy.config.node import Node
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError

_DATA = Path(__file__).with_name("zoo.yaml")
_PROJECTS = ("PointRend", "DeepLab", "Panoptic-DeepLab", "TensorMask", "TridentNet", "DensePose", "ViTDet", "MViTv2")
_DENSE_POSE = "https://dl.fbaipublicfiles.com/densepose/"  # beside the folder that detectron2:// stands for
_DEFAULTS = Path(__file__).with_name("defaults.yaml")


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """One official model. `ap`: the published numbers in percent, such as {"box": 41.0, "mask": 37.2}; may be empty."""

    name: str  # such as COCO-Detection/faster_rcnn_R_50_FPN_1x
    family: str  # such as Faster R-CNN
    ap: Mapping[str, float]
    weights: str  # detectron2://..., of DensePose https://...; "" where none were published
    is_lazy: bool  # whether detectron2 configures it by a LazyConfig, a Python file

    @property
    def config_file(self) -> str:
        """Its config's path in detectron2's repository."""
        first, _, rest = self.name.partition("/")
        path = f"projects/{first}/configs/{rest}" if first in _PROJECTS else f"configs/{self.name}"
        return f"{path}{'.py' if self.is_lazy else '.yaml'}"


def zoo_models() -> tuple[ZooModel, ...]:
    """All official models, in the order of detectron2's own list."""
    return tuple(_models().values())


def find(name: str) -> ZooModel:
    """The model called `name`, or the path of its config file in detectron2's repository, with or without the suffix.

    Raises ConfigError with the nearest names when there is none.
    """
    known = _models()
    bare = _bare(name)
    if bare in known:
        return known[bare]
    ends = [full for full in known if full.endswith(f"/{bare}")]
    # Spelling counts less in long names: people leave the folder out, or write it otherwise.
    near = ends or get_close_matches(bare, known, n=3, cutoff=0.6) or _nearest_ends(bare, known)
    hint = f"Did you mean {' or '.join(near[:3])}?" if near else "d2deploy zoo lists all names."
    raise ConfigError(f"{name!r} is neither a file nor the name of an official model. {hint}")


def is_zoo_name(name: str) -> bool:
    """Whether `find` knows `name`."""
    return _bare(name) in _models()


def has_lazy_config(name: str) -> bool:
    """Whether the config of an official model is a LazyConfig. Some have both: `name` ends in .py for that one."""
    return is_zoo_name(name) and (find(name).is_lazy or (name.endswith(".py") and _base_of(name) in BASES))


def lazy_config_of(name: str, overrides: Sequence[str] = ()) -> LazyNode:
    """The LazyConfig of an official model, under `overrides`, as read_lazy_config gives it.

    train.init_checkpoint is the trained model's address, as MODEL.WEIGHTS in config_of. Raises ConfigError likewise.
    """
    model = find(name)
    path = _base_of(model.config_file if model.is_lazy else name)
    if path not in BASES:
        raise _unknown(model)
    return read_carried(path, [f"train.init_checkpoint='{model.weights}'", *overrides])


def config_of(name: str, overrides: Sequence[Any] = ()) -> Node:
    """The whole YAML config of an official model, under `overrides` (KEY VALUE KEY VALUE), as read_config gives it.

    MODEL.WEIGHTS is the trained model's address, not that of the backbone its training began with; "" where none was
    published. Raises ConfigError: no such model, one with a LazyConfig only, or a bad override.
    """
    model = find(name)
    if model.is_lazy:
        raise _unknown(model)
    row = _table()["models"][model.name]
    keys: dict[str, Any] = {"MODEL.WEIGHTS": model.weights}
    for part in row["parts"]:
        keys |= _table()["parts"][part]
    keys |= row.get("keys", {})
    ours = [word for pair in keys.items() for word in pair]
    return read_config(_DEFAULTS, [*ours, *overrides])


@cache
def _table() -> dict[str, Any]:
    return read_tree(_DATA)


@cache
def _models() -> dict[str, ZooModel]:
    return {
        name: ZooModel(
            name=name,
            family=row["family"],
            ap=MappingProxyType(row.get("ap", {})),
            weights=_weights(name, row),
            is_lazy=row.get("is_lazy", False),
        )
        for name, row in _table()["models"].items()
    }


def _bare(name: str) -> str:
    bare = name.removesuffix(".yaml").removesuffix(".py").removeprefix("configs/")
    project, is_project, rest = bare.removeprefix("projects/").partition("/configs/")
    return f"{project}/{rest}" if is_project else bare


def _base_of(config_file: str) -> str:
    return config_file.removeprefix("configs/")


def _unknown(model: ZooModel) -> ConfigError:
    return ConfigError(
        f"d2deploy has no config of its own for {model.name}. Give detectron2's: {model.config_file} in its repository."
    )


def _weights(name: str, row: Mapping[str, Any]) -> str:
    if "url" in row:
        return f"detectron2://{row['url']}"
    if "weights" in row and name.startswith("DensePose/"):
        return f"{_DENSE_POSE}{name.removeprefix('DensePose/')}/{row['weights']}"
    return f"detectron2://{name}/{row['weights']}" if "weights" in row else ""


def _nearest_ends(name: str, known: Mapping[str, ZooModel]) -> list[str]:
    by_end = {full.rpartition("/")[2]: full for full in known}
    return [by_end[end] for end in get_close_matches(name.rpartition("/")[2], by_end, n=3, cutoff=0.6)]
