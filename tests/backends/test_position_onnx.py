"""Relative positions in ONNX Runtime are our RelativeBias, at sizes that the export did not see."""

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import OPAQUE, quiet, swapped
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.ops.position import RelativeBias


class Around(nn.Module):
    """A network that is one op."""

    def __init__(self, *, more_queries: bool) -> None:
        super().__init__()
        self.bias = RelativeBias(more_queries=more_queries)

    def forward(self, q: Tensor, k: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self.bias(q, k, rows, columns)


def inputs(large: tuple[int, int], small: tuple[int, int], *, more_queries: bool) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    queries, keys = (large, small) if more_queries else (small, large)
    shapes = (3, *queries, 4), (3, *keys, 4), (27, 4), (13, 4)
    return tuple(torch.randn(shape, generator=random) for shape in shapes)


@pytest.mark.parametrize("more_queries", [True, False])
def test_equal(more_queries: bool) -> None:
    network, free = Around(more_queries=more_queries), torch.export.Dim.DYNAMIC
    shapes = ({0: free, 1: free, 2: free}, {0: free, 1: free, 2: free}, None, None)
    sample = inputs((6, 8), (3, 4), more_queries=more_queries)
    with quiet():
        program = torch.export.export(swapped(network, OPAQUE), sample, dynamic_shapes=shapes, strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    for large, small in [((14, 7), (14, 7)), ((20, 12), (5, 3)), ((7, 9), (4, 5)), ((5, 1), (3, 1)), ((1, 1), (1, 1))]:
        arguments = inputs(large, small, more_queries=more_queries)
        (ours,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, arguments, strict=True)})
        torch.testing.assert_close(torch.from_numpy(ours), network(*arguments), atol=1e-4, rtol=1e-5)
