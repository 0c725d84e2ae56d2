"""The loops that stand for rotated NMS and rotated RoIAlign in ONNX, against the ops themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from alone import Alone
from torch import Tensor, nn

from d2deploy.backends.capture import OPAQUE, quiet, swapped
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.ops.nms import NMS
from d2deploy.ops.roi_align_rotated import RoIAlignRotated

FREE = torch.export.Dim.DYNAMIC


def in_onnx(op: nn.Module, sample: tuple[Any, ...], shapes: tuple[Any, ...]) -> Callable[..., np.ndarray]:
    """The op as ONNX Runtime runs it: tensors in, the array out."""
    with quiet():
        program = torch.export.export(swapped(Alone(op), OPAQUE), sample, dynamic_shapes=(shapes,), strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    proto = exported.model_proto
    assert not proto.functions and {node.domain for node in proto.graph.node} == {""}
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(*arguments: Any) -> np.ndarray:
        flat = [t for argument in arguments for t in (argument if isinstance(argument, list) else [argument])]
        names = [value.name for value in session.get_inputs()]
        (output,) = session.run(None, {name: t.numpy() for name, t in zip(names, flat, strict=True)})
        return np.asarray(output)

    return run


def boxes(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    scale, least = torch.tensor([150.0, 90, 60, 40, 360]), torch.tensor([0, 0, 5, 5, -180.0])
    return torch.rand((*shape, 5), generator=generator) * scale + least


@pytest.fixture(scope="module")
def nms() -> Callable[..., np.ndarray]:
    sample = (boxes(2, 3, 20), torch.rand(2, 3, 20))
    return in_onnx(NMS(iou_threshold=0.3, max_out=50), sample, ({0: FREE, 1: FREE, 2: FREE},) * 2)


@pytest.mark.parametrize("shape", [(2, 3, 20), (1, 5, 200), (3, 1, 40), (1, 1, 1), (1, 40, 3)], ids=str)
def test_nms(shape: tuple[int, int, int], nms: Callable[..., np.ndarray]) -> None:
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    scores[..., ::4] = float("-inf")
    expected = NMS(iou_threshold=0.3, max_out=50)(boxes(*shape), scores)
    np.testing.assert_array_equal(nms(boxes(*shape), scores), expected.numpy())


def test_nms_of_equal_scores_equal_boxes_and_none(nms: Callable[..., np.ndarray]) -> None:
    same = boxes(1, 2, 4)[:, :, :1].expand(2, -1, 4, -1).contiguous()
    scores = torch.ones(2, 2, 4)
    scores[1] = float("-inf")
    found = nms(same, scores)
    assert found[:, :3].tolist() == [[0, 4, -1], [-1, -1, -1]] and (found[:, 3:] == -1).all()
    # Boxes of no size cover nothing, themselves neither.
    found = nms(torch.zeros(1, 1, 3, 5), torch.tensor([[[1.0, 3, 2]]]))
    assert found[0, :4].tolist() == [1, 2, 0, -1]


def samples(count: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    maps = [torch.randn((2, 3, *cells), generator=generator) for cells in ((24, 40), (12, 20))]
    where = boxes(count)
    where[::5, 2:4] = 0.0  # padded proposals
    where[1::7, :2] -= 60  # over the border
    return maps, where, torch.arange(count) % 2, torch.arange(count) // 2 % 2


@pytest.fixture(scope="module", params=[0, 2])
def pooling(request: pytest.FixtureRequest) -> tuple[nn.Module, Callable[..., np.ndarray]]:
    op = RoIAlignRotated(scales=(0.25, 0.125), size=7, sampling_ratio=request.param)
    return op, in_onnx(op, samples(6), ([{0: FREE, 2: FREE, 3: FREE}] * 2, *[{0: FREE}] * 3))


@pytest.mark.parametrize("count", [100, 6, 1, 0])
def test_roi_align(count: int, pooling: tuple[nn.Module, Callable[..., np.ndarray]]) -> None:
    op, run = pooling
    ours, expected = run(*samples(count)), op(*samples(count)).numpy()
    assert ours.shape == expected.shape == (count, 3, 7, 7)
    np.testing.assert_allclose(ours, expected, atol=5e-5, rtol=0)
    assert count < 6 or np.abs(expected).max() > 1


def test_roi_align_of_known_sizes() -> None:
    """Those of one image: nothing is left open then, and each shape in the file is checked."""
    op, given = RoIAlignRotated(scales=(0.25, 0.125), size=7, sampling_ratio=0), samples(6)
    run = in_onnx(op, given, ([{}, {}], {}, {}, {}))
    np.testing.assert_allclose(run(*given), op(*given).numpy(), atol=5e-5, rtol=0)
