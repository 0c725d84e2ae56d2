"""One row of the table of families."""

from dataclasses import dataclass, field
from typing import Any

Part = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A small network: the structure of detectron2's official config, every width cut."""

    title: str  # in docs/formats
    config: str = ""  # an official LazyConfig; "": a YAML config made of the overrides alone
    overrides: tuple[str, ...] = ()
    min_size: int = 96
    max_size: int = 160
    gains: dict[str, float] = field(default_factory=dict)  # key of a weight -> what it is multiplied by
    shifts: dict[str, float] = field(default_factory=dict)  # part of such a key -> what is added

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments of load_model: a LazyConfig's test pipeline is not its model's."""
        return {"min_size": self.min_size, "max_size": self.max_size} if self.config else {}


def of_keys(title: str, *parts: Part, gains: dict[str, float] | None = None) -> Family:
    """A YAML config. A part: prefix -> {key: value}; later parts win."""
    keys = {
        f"{prefix}.{key}": value for part in parts for prefix, group in part.items() for key, value in group.items()
    }
    return Family(title=title, overrides=tuple(str(text) for item in keys.items() for text in item), gains=gains or {})


def of_lazy(
    title: str,
    config: str,
    *overrides: str,
    gains: dict[str, float] | None = None,
    shifts: dict[str, float] | None = None,
) -> Family:
    """An official LazyConfig with changes to it, each KEY=VALUE."""
    return Family(title=title, config=config, overrides=overrides, gains=gains or {}, shifts=shifts or {})
