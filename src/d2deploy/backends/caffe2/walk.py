"""From torch.export's graph to Caffe2's nets: one lowering a node."""

import operator
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, fx
from torch.export.graph_signature import InputKind

from d2deploy.backends.caffe2.lowerings import LOWERINGS, SIZED
from d2deploy.backends.caffe2.net import Nets
from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, module_of, operation, path_of
from d2deploy.errors import UnsupportedOps


def to_nets(program: torch.export.ExportedProgram, inputs: dict[str, str], outputs: list[str]) -> Nets:
    """The nets of `program`. inputs: its argument -> the blob's name; outputs: the blobs' names, in its order.

    Raises UnsupportedOps with everything that is missing.
    """
    walk = _Walk(program, inputs, outputs)
    for node in program.graph.nodes:
        walk.visit(node)
    walk.raise_if_missing()
    walk.nets.finish(list(inputs.values()), outputs)
    return walk.nets


class _Walk:
    def __init__(self, program: torch.export.ExportedProgram, inputs: dict[str, str], outputs: list[str]) -> None:
        self.nets = Nets("d2deploy")
        self.nets.reserve([*inputs.values(), *outputs])
        self.program, self.inputs = program, inputs
        self.values: dict[fx.Node, Any] = {}
        self.readers: dict[str, int] = defaultdict(int)  # blob -> nodes that have yet to read it
        self.missing: dict[str, list[str]] = defaultdict(list)  # what Caffe2 lacks -> where
        (output,) = (node for node in program.graph.nodes if node.op == "output")
        self.outputs = outputs
        self.names = dict(zip(output.args[0], outputs, strict=True))

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.values[node] = self._placeholder(node)
        elif node.op == "call_function":
            self._call(node)
        elif node.op == "output":
            self._output(node)
        else:
            raise AssertionError(f"a graph of torch.export has no {node.op} here")
        self._count(node)

    def _placeholder(self, node: fx.Node) -> Any:
        (spec,) = (item for item in self.program.graph_signature.input_specs if item.arg.name == node.name)
        if spec.kind == InputKind.USER_INPUT:
            return self._blobs(self.inputs[node.name], node.meta["val"])
        name = str(spec.target)
        weights: dict[str, Any] = {**self.program.constants, **self.program.state_dict}
        return _Weight(self.nets, name, weights[name])

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            self.values[node] = self.values[source][index]  # type: ignore[index]
            return
        if self._is_constant(node):
            self._fold(node)
            return
        lower = LOWERINGS.get(node.target)
        self.nets.path = module_of(node)
        args, kwargs = self._arguments(node)
        if lower is None:
            self._miss(node, operation(node))
            return
        if self._has_free_size(node):
            self._miss(node, f"{operation(node)} with a size that depends on the input")
            return
        place = Place(self.nets, node, names=self._names(node), is_last_use=self._is_last_use(node))
        try:
            made = lower(place, *args, **kwargs)
        except CannotLower as lack:
            self._miss(node, str(lack))
            return
        self.values[node] = self._blobs(made, node.meta["val"])
        if operation(node).split(".")[0].endswith("_"):
            self._overwrite(node)

    def _is_constant(self, node: fx.Node) -> bool:
        """Whether a tensor can be computed now, since nothing in it depends on the net's inputs."""
        target, like = node.target, node.meta.get("val")
        if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
            return False
        if not isinstance(like, Tensor | list | tuple):
            return False
        is_safe = not target._schema.is_mutable or target is torch.ops.aten.detach_.default
        return is_safe and all(isinstance(self.values.get(used), _Weight) for used in node.all_input_nodes)

    def _fold(self, node: fx.Node) -> None:
        """The value of a node of constants, under the name of the weight that it is made of, if it is one."""
        sources = [self.values[used] for used in node.all_input_nodes]
        args, kwargs = (self._tensors(side) for side in (node.args, node.kwargs))
        name = sources[0].name if len(sources) == 1 else path_of(node)
        made = node.target(*args, **kwargs)  # type: ignore[operator]
        if isinstance(made, Tensor):
            self.values[node] = _Weight(self.nets, name, made)
        else:
            self.values[node] = [_Weight(self.nets, name, part) for part in made]

    def _tensors(self, argument: Any) -> Any:
        """`argument` with the tensors of the weights that it names."""
        return fx.node.map_aggregate(
            argument, lambda item: self.values[item].tensor if isinstance(item, fx.Node) else item
        )

    def _has_free_size(self, node: fx.Node) -> bool:
        """Whether a tensor is made with a size that is a symbol, by a lowering that does not compute with sizes."""
        symbols = (torch.SymInt, torch.SymFloat, torch.SymBool)
        makes_tensor = isinstance(node.meta.get("val"), Tensor) and node.target not in SIZED
        return makes_tensor and any(isinstance(used.meta.get("val"), symbols) for used in node.all_input_nodes)

    def _overwrite(self, node: fx.Node) -> None:
        """What an operation in place changed is what its argument, by whatever name, is from now on."""
        before, after = self.values[node.args[0]], self.values[node]  # type: ignore[index]
        if not isinstance(before, Blob):
            raise AssertionError(f"{operation(node)} changes a weight")
        for other, value in list(self.values.items()):
            if isinstance(value, Blob) and value.name == before.name:
                self.values[other] = Blob(after.name, value.like)

    def _names(self, node: fx.Node) -> dict[int, str]:
        """Which of a node's outputs are the net's, and are called something."""
        if node in self.names:
            return {0: self.names[node]}
        parts = {user.args[1]: user for user in node.users if user.target is operator.getitem}
        return {int(number): self.names[user] for number, user in parts.items() if user in self.names}  # type: ignore[arg-type]

    def _blobs(self, made: Any, like: Any) -> Any:
        """A lowering answers with the names of the blobs it wrote."""
        if isinstance(made, str):
            self.nets.shapes.setdefault(made, like.shape)
            return Blob(made, like)
        if isinstance(made, list | tuple):
            return [self._blobs(item, each) for item, each in zip(made, like, strict=True)]
        return made

    def _arguments(self, node: fx.Node) -> tuple[list[Any], dict[str, Any]]:
        """A lowering is given three arguments by place and those after them by their names in the node's schema."""
        args, kwargs = list(self._given(node.args)), dict(self._given(node.kwargs))
        if isinstance(node.target, torch._ops.OpOverload):
            names = [argument.name for argument in node.target._schema.arguments]
            kwargs |= dict(zip(names[3:], args[3:]))
            args = args[:3]
        return args, kwargs

    def _given(self, argument: Any) -> Any:
        return fx.node.map_aggregate(argument, lambda item: self._value(item))

    def _value(self, item: Any) -> Any:
        value = self.values[item] if isinstance(item, fx.Node) else item
        return value.blob if isinstance(value, _Weight) else value

    def _count(self, node: fx.Node) -> None:
        """Note how many nodes read the blobs of a node's value, an alias of another's included."""
        value = self.values.get(node)
        for blob in value if isinstance(value, list) else [value]:
            if isinstance(blob, Blob):
                self.readers[blob.name] += len(node.users)
        for used in node.all_input_nodes:
            value = self.values.get(used)
            for blob in value if isinstance(value, list) else [value]:
                if isinstance(blob, Blob):
                    self.readers[blob.name] -= 1

    def _is_last_use(self, node: fx.Node) -> bool:
        first = next((item for item in node.args if isinstance(item, fx.Node)), None)
        value = self.values.get(first) if first is not None else None
        is_free = isinstance(value, Blob) and value.name not in [*self.inputs.values(), *self.outputs]
        return is_free and self.readers[value.name] == 1 and node not in self.names  # type: ignore[union-attr]

    def _miss(self, node: fx.Node, what: str) -> None:
        self.missing[what].append(path_of(node))
        like = node.meta.get("val")
        if isinstance(like, Tensor | list | tuple):
            self.values[node] = self._blobs(_names_like(like), like)
        else:  # a number: what computes with it is missing, too
            self.values[node] = None

    def _output(self, node: fx.Node) -> None:
        for item, name in zip(node.args[0], self.outputs, strict=True):  # type: ignore[arg-type]
            blob = self._value(item)
            if blob.name != name:
                self.nets.add("Copy", [blob.name], [name])

    def raise_if_missing(self) -> None:
        if self.missing:
            lines = [f"  {what}: {_places(where)}" for what, where in sorted(self.missing.items())]
            raise UnsupportedOps(
                "Caffe2, or what d2deploy knows of it, cannot express this model. Missing:\n"
                + "\n".join(lines)
                + "\nWrite these parts with other operations, or choose another --format."
            )


def _places(where: list[str]) -> str:
    return where[0] if len(where) == 1 else f"{where[0]} and {len(where) - 1} more"


def _names_like(value: Any) -> Any:
    return [_names_like(item) for item in value] if isinstance(value, list | tuple) else "missing"


class _Weight:
    """A parameter or constant, put into the init net when something reads it."""

    def __init__(self, nets: Nets, name: str, tensor: Tensor) -> None:
        self._nets, self.name, self.tensor = nets, name, tensor.detach()

    @property
    def blob(self) -> Blob:
        return Blob(self._nets.constant(self.tensor.numpy(), self.name), self.tensor)
