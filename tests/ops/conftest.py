"""The ways an op is captured."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn


class _Around(nn.Module):
    """A network that is one op."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op = op

    def forward(self, *arguments: Any) -> Any:
        return self.op(*arguments)


def _trace(op: nn.Module, sample: tuple[Any, ...]) -> Any:
    # As backends/torchscript.py traces: the op itself is scripted.
    return torch.jit.trace(_Around(torch.jit.script(op)), sample)


@pytest.fixture
def captures() -> dict[str, Callable[[nn.Module, tuple[Any, ...]], Any]]:
    """Name -> function: op, sample -> the captured op, called as the op."""
    return {"script": lambda op, sample: torch.jit.script(op), "trace": _trace}
