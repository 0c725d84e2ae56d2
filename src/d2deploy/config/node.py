"""The config as a tree that reads like detectron2's config node, and cannot be written."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn


class Node(Mapping[str, Any]):
    """A section of a config: cfg.MODEL.RPN.NMS_THRESH, cfg["MODEL"], `in`, get, keys, items, values, ==.

    Leaves are str, int, float, bool, None, list or tuple, each of the type that detectron2's default has.
    """

    __slots__ = ("_children",)
    _children: dict[str, Any]

    def __init__(self, tree: Mapping[str, Any]) -> None:
        children = {key: Node(value) if isinstance(value, Mapping) else _copied(value) for key, value in tree.items()}
        object.__setattr__(self, "_children", children)

    def __getitem__(self, key: str) -> Any:
        return self._children[key]

    def __getattr__(self, name: str) -> Any:
        # Names with an underscore are Python's own (pickle, copy ask for them before `_children` exists).
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._children[name]
        except KeyError:
            near = get_close_matches(name, self._children, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise AttributeError(f"this config section has no key {name}{hint}") from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a config cannot be changed: give {name} as an override to read_config")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a config cannot be changed: {name} stays")

    def __iter__(self) -> Iterator[str]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    def __repr__(self) -> str:
        return f"Node({self.to_dict()!r})"

    def __reduce__(self) -> tuple[type["Node"], tuple[dict[str, Any]]]:
        return Node, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """A nested dict of its own, free to be changed."""
        return {key: value.to_dict() if isinstance(value, Node) else _copied(value) for key, value in self.items()}


def _copied(value: Any) -> Any:
    """Lists are copied, so that no reader can change another's config or the cached defaults."""
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value
