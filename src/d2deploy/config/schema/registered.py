"""Parts that a user wrote."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from d2deploy.config.node import Node


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Made by the user's own class or function, which reads the whole config itself."""

    name: str  # in its registry (d2deploy.registry)
    cfg: Node


@dataclass(frozen=True, kw_only=True)
class RegisteredProposals:
    """A user's own proposal generator."""

    part: Registered


@dataclass(frozen=True, kw_only=True)
class RegisteredSemSegHead:
    """A user's own semantic head."""

    part: Registered
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class RegisteredArchitecture:
    """A user's own network, the whole of it."""

    part: Registered


def has_own_parts(config: Any) -> bool:
    """Whether the network has parts of the user's own anywhere."""
    if isinstance(config, Registered):
        return True
    return any(
        has_own_parts(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if dataclasses.is_dataclass(getattr(config, field.name))
    )
