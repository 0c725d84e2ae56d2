"""A device that is not there: tensors that live on it in name only, and refuse to meet those of the CPU.

What runs on it runs on a GPU as far as devices go: each tensor that a graph makes must be made where its inputs are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda:0")
CPU = torch.device("cpu")
_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(Tensor):
    """A tensor of the CPU that says it is on DEVICE."""

    held: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )
        made.held = inner
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class OnOtherDevice(TorchDispatchMode):
    """While it is entered, what is asked to be made on DEVICE is Elsewhere."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    elsewhere = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    if elsewhere and func not in _MOVES:
        is_mixing = torch.Tag.pointwise in func.tags  # such kernels take a single number from the CPU
        if strangers := [t for t in tensors if not isinstance(t, Elsewhere) and not (is_mixing and t.dim() == 0)]:
            raise RuntimeError(f"{func}: a tensor of the CPU, {list(strangers[0].shape)}, among those of {DEVICE}")
    if (device := kwargs.get("device")) is not None:
        elsewhere = torch.device(device).type == DEVICE.type
        kwargs = {**kwargs, "device": CPU}
    result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.is_mutable:
        return args[0]
    return _wrapped(result, elsewhere)


def _wrapped(result: Any, elsewhere: bool) -> Any:
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, result) if elsewhere else result


def _inner(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


def moved(module: Any) -> Any:
    """A loaded TorchScript module with its weights Elsewhere, in place."""
    for part in module.modules():
        for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            part._c.setattr(name, Elsewhere(tensor.detach()))
    return module


@contextmanager
def on_other_device() -> Iterator[None]:
    """While it is entered, what runs runs there."""
    with torch.inference_mode(False), torch.no_grad(), optimized_execution(False), OnOtherDevice():
        yield


def run_elsewhere(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a loaded TorchScript module gives when it and its inputs are on DEVICE, back on the CPU."""
    with on_other_device():
        outputs = moved(module)(*map(Elsewhere, inputs))
    assert all(isinstance(output, Elsewhere) for output in outputs)
    return tuple(map(_inner, outputs))
