"""The short way to ONNX: taken by the programs it is for, with the same numbers; the long way for all others."""

import logging
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from d2deploy.backends.capture import quiet
from d2deploy.backends.onnx.direct import LOG, is_direct, translate
from d2deploy.backends.onnx.lowerings import lowerings

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Translated(nn.Module):
    """What TRANSLATIONS has."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 6, (2, 3), stride=(2, 1), padding=(0, 1), groups=3)
        self.plain = nn.ConvTranspose2d(6, 2, 3, bias=False, dilation=2, stride=2, output_padding=1)
        self.norm, self.mean = nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1)
        self.plain_norm = nn.BatchNorm2d(6, affine=False)
        for norm in (self.norm, self.plain_norm):
            norm.get_buffer("running_mean").fill_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.plain_norm(self.up(x)).relu_()
        inside = (y > 0.1) & (y < 0.9)
        counted = inside.to(torch.int64) & torch.ones_like(y, dtype=torch.int64)
        z = self.norm(self.plain(y)) * counted.to(torch.float32).sum() + torch.tensor(2.0)
        square = torch.ones(2, 2)
        cells = self.mean(z).flatten(1)
        cells = torch.addmm(torch.zeros(2), cells, square).addmm_(cells, square)
        return (
            z
            + cells.reshape_as(self.mean(z))
            + torch.baddbmm(cells[None], cells[None], square[None]).baddbmm_(cells[None], square[None]).sum()
        )


class ReadAgain(nn.Module):
    """The old name of a tensor that was written over: torch follows it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        torch.relu_(y)
        return y + 1


class Flattened(nn.Module):
    """A view is written over, of a value that nobody else reads; then it is flattened, in all the ways there are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (x * 2).permute(0, 3, 1, 2).relu_()
        twice = torch.cat((y.flatten(0, 2).sqrt(), y.flatten(0, -2).sigmoid()), dim=1)
        return (
            twice.sum()
            + y.flatten(1, 2).amax(1)
            + y.flatten(2).amax((1, 2))[:, None]
            + y.flatten(1, 1).amax((1, 2, 3))[:, None]
        )


class Seen(nn.Module):
    """Written over where another value sees it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        view = y.flatten(1)
        y.relu_()
        return view + 1


class SeenAsDetached(nn.Module):
    """The same of a value that was detached before, which changes nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        view = y.flatten(1)
        y.detach_()
        y.relu_()
        return view + 1


class WrittenThrough(nn.Module):
    """A part of another value is written over."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y[:, 1].relu_()
        return y + 1


class OtherCalls(nn.Module):
    """An operator that TRANSLATIONS has, called as its function there is not for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(x, None, None, training=True)


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
    [
        (Translated, True),
        (ReadAgain, True),
        (Flattened, True),
        (Seen, False),
        (WrittenThrough, False),
        (OtherCalls, True),
        (Foreign, False),
    ],
)
def test_the_way_and_the_numbers(module, short, caplog):
    import onnxruntime

    network = module()
    assert is_direct(exported(network)) is short
    with quiet(), caplog.at_level(logging.INFO, LOG.name):
        made = translate(partial(exported, network), lowerings())
    went_long = any(record.name == LOG.name for record in caplog.records)
    assert went_long is (not short or module is OtherCalls)
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    no_rows = [torch.zeros(0, 3, 5, 8)] if module is Flattened else []
    for given in (X, torch.rand(3, 3, 5, 8), *no_rows):
        (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, network(given.clone()).numpy(), rtol=1e-4, atol=1e-5)


def test_a_detached_value_is_still_seen():
    assert not is_direct(exported(SeenAsDetached()))
