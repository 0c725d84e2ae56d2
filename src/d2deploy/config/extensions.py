"""Keys that users' own parts add to the config: functions in CONFIG_REGISTRY, as detectron2's projects have them."""

from collections.abc import Mapping
from typing import Any

from d2deploy.errors import ConfigError
from d2deploy.registry import CONFIG_REGISTRY


class CfgNode(dict[str, Any]):
    """A config that can still be written: cfg.MODEL.MINE = CfgNode(); cfg.MODEL.MINE.DEPTH = 50."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the config has no {name} here") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def extended(tree: dict[str, Any]) -> dict[str, Any]:
    """The defaults `tree` with the keys of all registered extensions. Raises ConfigError: one of them failed."""
    if not CONFIG_REGISTRY:
        return tree
    cfg = _writable(tree)
    for name, add in CONFIG_REGISTRY.items():
        try:
            add(cfg)
        except Exception as error:  # whatever the user's function raises
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"The config extension {name} failed: {reason}. Mend {add.__module__}.") from error
    return _plain(cfg)


def _writable(tree: Mapping[str, Any]) -> CfgNode:
    return CfgNode({key: _writable(value) if isinstance(value, Mapping) else value for key, value in tree.items()})


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
