"""MaxRoiPool in ONNX Runtime is our RoIPool, bit for bit: corners at halves of a cell, empty bins, no box at all."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import OPAQUE, quiet, swapped
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.ops.roi_pool import RoIPool


class TwoLevels(nn.Module):
    """A network that is one op."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = RoIPool(scales=(0.25, 0.125), size=7)

    def forward(self, fine: Tensor, coarse: Tensor, boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        return self.pool([fine, coarse], boxes, image_index, levels)


def inputs(count: int) -> tuple[Tensor, ...]:
    random = np.random.default_rng(count)
    boxes = np.round(random.uniform(-60, 260, (count, 4)) * 4) / 4
    arrays = (
        random.normal(-3, 1, (2, 3, 24, 40)).astype(np.float32),
        random.normal(-3, 1, (2, 3, 12, 20)).astype(np.float32),
        boxes.astype(np.float32),
        random.integers(0, 2, count),
        random.integers(0, 2, count),
    )
    return tuple(map(torch.from_numpy, arrays))


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    free = torch.export.Dim.DYNAMIC
    shapes = (*[{0: free, 2: free, 3: free}] * 2, *[{0: free}] * 3)
    with quiet():
        program = torch.export.export(swapped(TwoLevels(), OPAQUE), inputs(5), dynamic_shapes=shapes, strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    proto = exported.model_proto
    assert "MaxRoiPool" in {node.op_type for node in proto.graph.node}
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("count", [2000, 5, 1, 0])
def test_equal(count: int, session: onnxruntime.InferenceSession) -> None:
    arguments = inputs(count)
    names = [value.name for value in session.get_inputs()]
    (ours,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, arguments, strict=True)})
    np.testing.assert_array_equal(ours, TwoLevels()(*arguments).numpy())
