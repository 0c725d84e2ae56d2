"""What a lowering works with: values of the graph as blobs, and the place in the nets where it writes."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from d2deploy.backends.caffe2.net import DTYPES, Nets


@dataclasses.dataclass(frozen=True)
class Blob:
    """A tensor in the net. `like` has its dtype and shape, as torch.export knows them; some sizes are symbols."""

    name: str
    like: Tensor

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.like.dim()

    def size(self, axis: int) -> int | None:
        """Length of an axis; None when it is free."""
        size = self.like.shape[axis]
        return size if isinstance(size, int) else None


class Size:
    """A size that the net knows when it runs: a blob of one int64 number, written when first asked for."""

    def __init__(self, write: Callable[[], str]) -> None:
        self._write = write

    @cached_property
    def blob(self) -> str:
        """The blob's name."""
        return self._write()


class CannotLower(Exception):
    """What Caffe2 lacks for a node. The walk gathers them all."""


class Place:
    """Where a node is lowered: names follow the module that it came from."""

    def __init__(self, nets: Nets, node: fx.Node, *, names: dict[int, str], is_last_use: bool) -> None:
        self.nets, self.node = nets, node
        self._names = names  # output number -> the name that the net's contract gives it
        self.is_last_use = is_last_use  # nothing reads the first argument's blob after this node

    @cached_property
    def name(self) -> str:
        """The blob of the node's (first) output. Taken when first asked for: not every node makes a blob."""
        return self._names.get(0) or self.nets.unique(path_of(self.node))

    def output(self, number: int, part: str) -> str:
        """The blob of one of several outputs."""
        return self._names.get(number) or self.part(part)

    def emit(self, type: str, *inputs: "Blob | str", part: str = "", **args: Any) -> str:
        """Write an operator of one output. `part` names a step inside of a lowering; the last has none."""
        name = self.nets.unique(f"{self.name}.{part}") if part else self.name
        self.nets.add(type, [_name(item) for item in inputs], [name], **args)
        return name

    def emit_many(self, type: str, *inputs: "Blob | str", outputs: list[str], **args: Any) -> list[str]:
        """The same with several outputs, named by the caller."""
        self.nets.add(type, [_name(item) for item in inputs], outputs, **args)
        return outputs

    def in_place(self, type: str, blob: Blob, **args: Any) -> str:
        """An operator whose output replaces its input where nobody else reads that."""
        if not self.is_last_use:
            return self.emit(type, blob, **args)
        self.nets.add(type, [blob.name], [blob.name], **args)
        return blob.name

    def concat(self, blobs: "list[Blob | str]", axis: int, part: str = "") -> str:
        """Caffe2's Concat has a second output, which nobody reads."""
        name = self.nets.unique(f"{self.name}.{part}") if part else self.name
        self.nets.add("Concat", [_name(b) for b in blobs], [name, self.nets.unique(f"{name}.sizes")], axis=axis)
        return name

    def constant(self, numbers: Any, part: str, dtype: str = "float32") -> str:
        """A blob of constant numbers, filled by the init net."""
        return self.nets.constant(np.asarray(numbers, dtype), f"{self.name}.{part}")

    def once(self, key: str, make: Callable[[], str]) -> str:
        """The blob that `make` wrote when `key` was first asked for in these nets."""
        if key not in self.nets.made:
            self.nets.made[key] = make()
        return self.nets.made[key]

    def is_used(self, number: int) -> bool:
        """Whether anything reads one of several outputs."""
        return any(user.args[1] == number and user.users for user in self.node.users)

    def reshape(self, blob: "Blob | str", shape: list[int], part: str) -> str:
        """Reshape has a second output, which nobody reads. 0: as long as it is, -1: what is left."""
        made = self.part(part)
        return self.emit_many("Reshape", blob, outputs=[made, self.part(f"{part}.before")], shape=shape)[0]

    def part(self, name: str) -> str:
        """A new name for a step inside of a lowering."""
        return self.nets.unique(f"{self.name}.{name}")

    def cast(self, blob: "Blob | str", dtype: str, part: str = "") -> str:
        """The blob as another dtype, numpy's name."""
        return self.emit("Cast", blob, part=part, to=DTYPES[dtype])


def dtype_of(tensor: Tensor | torch.dtype) -> str:
    """numpy's name of a tensor's dtype."""
    return str(tensor.dtype if isinstance(tensor, Tensor) else tensor).removeprefix("torch.")


def _name(item: Blob | str) -> str:
    return item.name if isinstance(item, Blob) else item


# The step of a module that gives it its name: backbone.res4.2.conv1 is the convolution.
_CALLED = {"caffe2_boxes": "decoded", "caffe2_detections": "detections", "caffe2_rois": "detected"}
_MAIN = ("conv2d", "conv_transpose2d", "linear", "max_pool2d", "group_norm", "batch_norm", "caffe2_")


def path_of(node: fx.Node) -> str:
    """A blob's name: the path of the module that the node came from, and its operation where that says more."""
    path = module_of(node)
    kind = operation(node).split(".")[0].rstrip("_")
    kind = _CALLED.get(kind, kind)
    if path and kind.startswith(_MAIN):
        return path
    return f"{path}.{kind}" if path else kind


def module_of(node: fx.Node) -> str:
    """The path of the innermost module that the node came from; "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((str(path) for path, _ in reversed(list(stack.values())) if path), "")


def operation(node: fx.Node) -> str:
    """A node's operation in words: conv2d.default, roi_align.default, mul."""
    target: Any = node.target
    return str(target).split(".", 1)[-1] if isinstance(target, torch._ops.OpOverload) else target.__name__
