"""A part that a user wrote."""

from dataclasses import dataclass

from d2deploy.config.node import Node


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Made by the user's own class or function, which reads the whole config itself."""

    name: str  # in its registry (d2deploy.registry)
    cfg: Node
