"""The door to configs: any file or name that a user gives, to a schema.ModelConfig."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from d2deploy.config import schema
from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.node import LazyNode
from d2deploy.config.lazy.read import is_lazy, read_lazy_config, read_lazy_yaml
from d2deploy.config.thresholds import with_thresholds
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.config.zoo import config_of, has_lazy_config, is_zoo_name, lazy_config_of
from d2deploy.errors import ConfigError


def read_model_config(
    config_file: str | Path,
    overrides: Sequence[Any] = (),
    *,
    min_size: int | None = None,
    max_size: int | None = None,
    trust_config: bool = False,
    score_thresh: float | None = None,
    nms_thresh: float | None = None,
    max_detections: int | None = None,
) -> schema.ModelConfig:
    """What a config says of a network.

    `config_file`: a YAML config, a LazyConfig (.py, or its dump as YAML), or an official model's name (zoo.py).
    `overrides`: KEY VALUE KEY VALUE or key=value, each kind for each config. `min_size` (0: no resizing) and `max_size`
    go over what the config says of the shorter and the longer edge of the network's input; a LazyConfig without a data
    loader needs them. `trust_config`: a .py file is run as Python (lazy/trusted.py) instead of only read. The rest go
    over what it says of detections (thresholds.py). Raises ConfigError.
    """
    _check_size("min_size", min_size, least=0)
    _check_size("max_size", max_size, least=1)
    lazy = _lazy_config(config_file, list(_assignments(overrides)), trust_config=trust_config)
    if lazy is not None:
        config = lazy_model_config(lazy, min_size=min_size, max_size=max_size)
    else:
        config = _yaml_config(config_file, list(_pairs(overrides)), {"min_size": min_size, "max_size": max_size})
    return with_thresholds(config, score_thresh=score_thresh, nms_thresh=nms_thresh, max_detections=max_detections)


def _yaml_config(config_file: str | Path, pairs: list[Any], sizes: dict[str, int | None]) -> schema.ModelConfig:
    cfg = config_of(str(config_file), pairs) if is_official(config_file) else read_config(config_file, pairs)
    config = model_config(cfg)
    given: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    return dataclasses.replace(config, input=dataclasses.replace(config.input, **given))


def is_official(config_file: str | Path) -> bool:
    """Whether it names an official model, perhaps misspelt, and no file."""
    return not Path(config_file).exists() and (is_zoo_name(str(config_file)) or Path(config_file).suffix == "")


def _lazy_config(config_file: str | Path, overrides: list[str], *, trust_config: bool) -> LazyNode | None:
    """The LazyConfig; None for a config of the other kind."""
    if is_official(config_file):
        return lazy_config_of(str(config_file), overrides) if has_lazy_config(str(config_file)) else None
    if not is_lazy(config_file):
        return None
    if Path(config_file).suffix != ".py":
        return read_lazy_yaml(config_file, overrides)
    if trust_config:
        from d2deploy.config.lazy.trusted import run_lazy_config

        return run_lazy_config(config_file, overrides)
    return read_lazy_config(config_file, overrides)


def _words(overrides: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Each override: its one word (key=value, ~key), or its two."""
    words = iter(overrides)
    for word in words:
        if isinstance(word, str) and ("=" in word or word.startswith("~")):
            yield (word,)
        else:
            rest = next(words, _NOTHING)
            yield (word,) if rest is _NOTHING else (word, rest)


_NOTHING = object()


def _pairs(overrides: Sequence[Any]) -> Iterator[Any]:
    """Overrides as YAML configs take them: KEY VALUE KEY VALUE."""
    for words in _words(overrides):
        yield from words[0].split("=", 1) if len(words) == 1 and isinstance(words[0], str) else words


def _assignments(overrides: Sequence[Any]) -> Iterator[str]:
    """Overrides as LazyConfigs take them: key=value."""
    for words in _words(overrides):
        yield "=".join(word if isinstance(word, str) else repr(word) for word in words)


def _check_size(name: str, size: int | None, *, least: int) -> None:
    if size is not None and (type(size) is not int or not least <= size < 2**31):
        raise ConfigError(f"{name} is {size!r}; it must be a whole number of at least {least}.")
