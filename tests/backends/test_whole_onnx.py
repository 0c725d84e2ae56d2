"""What is done before and after a network, in standard operators: equal to the ops, in ONNX Runtime and OpenVINO."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from alone import Alone
from torch import Tensor, nn

from d2deploy.backends.capture import OPAQUE, quiet, swapped
from d2deploy.backends.onnx import proto_of
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.merge_panoptic import MergePanoptic
from d2deploy.ops.paste_masks import PasteMasks
from d2deploy.ops.resize_image import ResizeImage
from d2deploy.ops.resize_maps import ResizeMaps

FREE = torch.export.Dim.DYNAMIC


def in_onnx(op: nn.Module, sample: tuple[Tensor, ...], fixed: dict[int, tuple[int, ...]]) -> bytes:
    """The op alone as an ONNX file. `fixed`: argument -> its axes that are not free."""
    axes = tuple(
        {axis: FREE for axis in range(argument.dim()) if axis not in fixed.get(number, ())}
        for number, argument in enumerate(sample)
    )
    with quiet():
        program = torch.export.export(swapped(Alone(op), OPAQUE), sample, dynamic_shapes=(axes,), strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    proto = exported.model_proto
    assert not proto.functions and {node.domain for node in proto.graph.node} == {""}
    onnx.checker.check_model(proto, full_check=True)
    file: bytes = proto.SerializeToString()
    return file


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def image(height: int, width: int) -> Tensor:
    return (random(height, width, 3) * 256).to(torch.uint8)


def boxes(count: int, height: int, width: int) -> Tensor:
    return random(count, 2, 2).sort(dim=1).values.flatten(1) * torch.tensor([width, height, width, height]).float()


def heatmaps(count: int) -> Tensor:
    rough = torch.randn((count, 5, 14, 14), generator=torch.Generator().manual_seed(count)) * 3
    return nn.functional.interpolate(rough, size=(56, 56), mode="bicubic") if count else random(0, 5, 56, 56)


def scene(count: int, images: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Masks that overlap, scores, class and image of each, labels."""
    y, x = torch.arange(height)[:, None], torch.arange(width)
    x1, y1, x2, y2 = boxes(count, height, width)[:, :, None, None].unbind(1)
    numbers = torch.stack((torch.arange(count) % 3, torch.arange(count) * images // max(count, 1)), dim=1)
    labels = nn.functional.interpolate(random(images, 6, 4, 4), size=(height, width)).argmax(dim=1)
    return (y > y1) & (y < y2) & (x > x1) & (x < x2), 1 - torch.arange(count) % 7 / 10, numbers, labels


# op, arguments (the first are the sample), axes that are fixed, how far numbers may be apart
CASES: dict[str, tuple[nn.Module, list[tuple[Tensor, ...]], dict[int, tuple[int, ...]], float]] = {
    # The last has weights beyond what a float holds exactly.
    "image": (
        ResizeImage(min_size=100, max_size=167),
        [(image(*size),) for size in ((96, 128), (300, 40), (1, 64), (64, 1), (448, 455), (1500, 1900))],
        {0: (2,)},
        0,
    ),
    "image, as it is": (
        ResizeImage(min_size=0, max_size=0),
        [(image(*size),) for size in ((96, 128), (1, 64))],
        {0: (2,)},
        0,
    ),
    "masks": (
        PasteMasks(),
        [
            (random(d, 28, 28), boxes(d, *size), torch.tensor([size, [3, 2]]))
            for d, size in ((3, (40, 50)), (0, (9, 8)), (1, (64, 1)), (40, (300, 200)))
        ],
        {0: (1, 2), 1: (1,), 2: (1,)},
        0,
    ),
    "keypoints": (
        FindKeypoints(),
        [(heatmaps(d), boxes(d, *size)) for d, size in ((3, (40, 50)), (0, (9, 8)), (1, (64, 1)), (9, (300, 200)))],
        {0: (1, 2, 3), 1: (1,)},
        1e-3,
    ),
    "maps": (
        ResizeMaps(),
        [
            (random(len(a), 5, 64, 96), torch.tensor(a), torch.tensor(b))
            for a, b in (
                ([[40, 50], [64, 96]], [[80, 100], [80, 100]]),
                ([[64, 96]], [[64, 96]]),
                ([[64, 1]], [[500, 7]]),
            )
        ],
        {0: (1,), 1: (1,), 2: (1,)},
        1e-4,
    ),
    "panoptic": (
        MergePanoptic(overlap=0.5, stuff_area=30, score=0.45, num_labels=6),
        [scene(*case) for case in ((6, 2, 40, 50), (0, 1, 40, 50), (0, 3, 9, 8), (30, 3, 60, 70), (3, 1, 64, 1))],
        {2: (1,)},
        0,
    ),
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Case -> its file, made on first use."""
    return {}


def in_onnxruntime(file: bytes) -> Callable[..., list[np.ndarray]]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def in_openvino(file: bytes) -> Callable[..., list[np.ndarray]]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *arrays: [np.array(array) for array in compiled(list(arrays)).values()]


@pytest.mark.parametrize("runtime", [in_onnxruntime, in_openvino])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_op(case: str, runtime: Callable[..., Any], files: dict[str, bytes]) -> None:
    op, samples, fixed, tolerance = CASES[case]
    if case not in files:
        files[case] = in_onnx(op, samples[0], fixed)
    run = runtime(files[case])
    for sample in samples:
        expected = op(*sample)
        found = run(*(argument.numpy() for argument in sample))
        for ours, theirs in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.numpy().dtype)
            if ours.dtype == bool:
                assert np.count_nonzero(ours ^ theirs.numpy()) <= ours.size * 1e-5  # sums in another order
            else:
                np.testing.assert_allclose(ours, theirs.numpy(), atol=tolerance, rtol=0)


def test_inner_names_are_not_those_of_inputs() -> None:
    """A loop's value and an input may have been called the same."""
    op, samples, *_ = CASES["panoptic"]
    names = ["image", "i", "drawn", "number"]
    with quiet():
        program = torch.export.export(swapped(Alone(op), OPAQUE), samples[0], strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, custom_translation_table=lowerings(), input_names=names, verbose=False
        )
    proto = proto_of(exported)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in proto.graph.input] == names
