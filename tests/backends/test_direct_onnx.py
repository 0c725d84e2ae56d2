"""The short way to ONNX: taken by the programs it is for, with the same numbers; the long way for all others."""

import numpy as np
import pytest
import torch
from torch import nn

from d2deploy.backends.capture import quiet
from d2deploy.backends.onnx.direct import Direct, direct
from d2deploy.backends.onnx.lowerings import lowerings

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Translated(nn.Module):
    """What TRANSLATIONS has."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 6, (2, 3), stride=(2, 1), padding=(0, 1), groups=3)
        self.plain = nn.ConvTranspose2d(6, 2, 3, bias=False, dilation=2, stride=2, output_padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(x).relu_()
        inside = (y > 0.1) & (y < 0.9)
        counted = inside.to(torch.int64) & torch.ones_like(y, dtype=torch.int64)
        return self.plain(y) * counted.to(torch.float32).sum() + torch.tensor(2.0)


class ReadAgain(nn.Module):
    """The old name of a tensor that was written over: torch follows it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        torch.relu_(y)
        return y + 1


class Seen(nn.Module):
    """Written over where another value sees it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        view = y.flatten(1)
        y.relu_()
        return view + 1


class WrittenThrough(nn.Module):
    """A part of another value is written over."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y[:, 1].relu_()
        return y + 1


class Foreign(nn.Module):
    """Writes in place by an operator that no table has; and one that must be taken apart."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y.add_(1.0)
        return nn.functional.pixel_shuffle(y.repeat(1, 4, 1, 1), 2).logit(0.1)


def exported(module: nn.Module) -> torch.export.ExportedProgram:
    axes = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC},)
    return torch.export.export(module.eval(), (X,), dynamic_shapes=axes, strict=False)


@pytest.mark.parametrize(
    ("module", "short"),
    [(Translated, True), (ReadAgain, True), (Seen, False), (WrittenThrough, False), (Foreign, False)],
)
def test_the_way_and_the_numbers(module, short):
    import onnxruntime

    program = direct(exported(network := module()))
    assert isinstance(program, Direct) is short
    with quiet():
        made = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for given in (X, torch.rand(3, 3, 5, 8)):
        (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, network(given.clone()).numpy(), rtol=1e-4, atol=1e-5)
