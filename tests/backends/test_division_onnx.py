"""Whole numbers divided inside an ONNX graph: exact, also where float32 has not every whole number."""

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import quiet
from d2deploy.backends.onnx.lowerings import lowerings

FREE = torch.export.Dim.DYNAMIC


class Divide(nn.Module):
    def forward(self, number: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return number.div(rows.shape[0], rounding_mode="floor"), number.div(80, rounding_mode="floor")


@pytest.fixture(scope="module")
def graph() -> bytes:
    sample = (torch.arange(7), torch.zeros(5))
    with quiet():
        program = torch.export.export(Divide(), sample, dynamic_shapes=({0: FREE}, {0: FREE}), strict=False)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=18,
            custom_translation_table=lowerings(),
            input_names=["number", "rows"],
            verbose=False,
        )
    assert exported is not None
    return exported.model_proto.SerializeToString()


def onnxruntime_(graph: bytes, *arrays: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(("number", "rows"), arrays, strict=True)))


def openvino_(graph: bytes, *arrays: np.ndarray) -> list[np.ndarray]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(list(arrays)).values())


@pytest.mark.parametrize("run", [onnxruntime_, openvino_])
@pytest.mark.parametrize("divisor", [1, 41, 1000, 1203])
def test_it_is_pythons_division(run, divisor: int, graph: bytes) -> None:
    near = [np.arange(start, start + 5000) for start in (-2, 2**24 - 2500, 20_000_000, 2**29)]
    numbers = np.concatenate(near)
    by_size, by_80 = run(graph, numbers, np.zeros(divisor, np.float32))
    small = numbers // divisor < 2**23  # beyond, OpenVINO's float32 is off by more than one
    assert small.sum() >= 5000
    np.testing.assert_array_equal(by_size[small], numbers[small] // divisor)
    np.testing.assert_array_equal(by_80, numbers // 80)
