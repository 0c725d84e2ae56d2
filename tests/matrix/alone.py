"""An op as a network, to capture it alone."""

from typing import Any

from torch import nn


class Alone(nn.Module):
    """A network that is one op."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op = op

    def forward(self, *arguments: Any) -> Any:
        return self.op(*arguments)
