"""The network itself, run as if it were an artifact."""

from typing import Any

import numpy as np
import torch
from torch import nn

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.errors import DeviceError
from d2deploy.runner import check_arrays


class TorchRunner:
    """Runs a torch module: numpy in, numpy out."""

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._module: nn.Module | None = module
        self._device = torch.device(device)

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`."""
        if self._module is None:
            raise ValueError("this runner is closed")
        check_arrays(self.inputs, arrays)
        with torch.inference_mode():
            tensors = self._module(*(torch.from_numpy(array).to(self._device) for array in arrays))
        return tuple(tensor.cpu().numpy() for tensor in tensors)

    def close(self) -> None:
        """Let the network go."""
        self._module = None


def load(source: Any, device: str = "cpu") -> TorchRunner:
    """A runner for a models.Model. Raises DeviceError."""
    check_device(device)
    return TorchRunner(source.core.to(device), source.spec, device)


def check_device(device: str) -> None:
    """Raises DeviceError when torch cannot run on `device`."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise DeviceError(
            f"torch cannot run on device {device!r}: {why}. Choose another --device, such as cpu."
        ) from error
