"""The ways an op is captured."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from alone import Alone
from torch import nn


def _trace(op: nn.Module, sample: tuple[Any, ...]) -> Any:
    # As backends/torchscript.py traces: the op itself is scripted.
    return torch.jit.trace(Alone(torch.jit.script(op)), sample)


@pytest.fixture
def captures() -> dict[str, Callable[[nn.Module, tuple[Any, ...]], Any]]:
    """Name -> function: op, sample -> the captured op, called as the op."""
    return {"script": lambda op, sample: torch.jit.script(op), "trace": _trace}
