"""That the device which is not there refuses what a GPU would refuse."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from other_device import DEVICE, Elsewhere, run_elsewhere
from torch import Tensor

from d2deploy.backends.capture import quiet


def follows(x: Tensor) -> list[Tensor]:
    steps = torch.arange(x.shape[0], device=x.device) + torch.zeros([1], device=x.device)
    return [torch.cat((steps, torch.tensor([2.5], device=x.device), x * 0.5))]


def is_left_behind(x: Tensor) -> list[Tensor]:
    return [x + torch.arange(x.shape[0])]


def is_named(x: Tensor) -> list[Tensor]:
    return [x[:2] * torch.ones([2], device="cpu")]


def loaded(function: Callable[[Tensor], list[Tensor]], method: str) -> torch.jit.ScriptModule:
    buffer = io.BytesIO()
    with quiet():
        made = torch.jit.script(function) if method == "script" else torch.jit.trace(function, (torch.ones(3),))
        torch.jit.save(made, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


@pytest.mark.parametrize(
    ("function", "method", "where"),
    [
        (is_left_behind, "script", "torch.add(x"),
        (is_named, "script", "torch.mul("),
        (is_named, "trace", "torch.mul("),
        (follows, "trace", "torch.cat("),
    ],
)
def test_what_is_made_on_the_cpu_is_refused(function: Any, method: str, where: str) -> None:
    module = loaded(function, method)
    module(torch.ones(3))
    # The interpreter shows the line, and drops the message.
    with pytest.raises(RuntimeError, match=rf"{re.escape(where)}.*\n *~*.*HERE"):
        run_elsewhere(module, (torch.ones(3),))


def test_what_follows_its_input_runs() -> None:
    (output,) = run_elsewhere(loaded(follows, "script"), (torch.ones(3),))
    torch.testing.assert_close(output, torch.tensor([0, 1, 2, 2.5, 0.5, 0.5, 0.5]))


def test_a_tensor_says_where_it_is() -> None:
    made = Elsewhere(torch.ones(3)).new_zeros(2)
    assert isinstance(made, Elsewhere) and made.device == DEVICE
