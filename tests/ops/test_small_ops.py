"""Boxes, anchors, image preparation, mask pasting: against the numbers of their definitions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.ops import LEAVES
from d2deploy.ops.anchor_grid import AnchorGrid, anchors_at, cell_anchors
from d2deploy.ops.boxes import SCALE_CLAMP, clip_boxes, decode_boxes
from d2deploy.ops.crop import Crop
from d2deploy.ops.deform_sample import DeformSample
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.found import Found
from d2deploy.ops.image_index import ImageIndex
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.least_size import PadToLeast
from d2deploy.ops.mask_windows import Enlarge, MaskWindows
from d2deploy.ops.merge_panoptic import MergePanoptic
from d2deploy.ops.nms import NMS
from d2deploy.ops.paste_masks import PasteMasks
from d2deploy.ops.point_sample import PointSample
from d2deploy.ops.position import AbsolutePosition, RelativeBias, WindowBias
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.ops.regular_points import RegularPoints
from d2deploy.ops.resize_image import ResizeImage
from d2deploy.ops.resize_maps import ResizeMaps
from d2deploy.ops.roi_align import RoIAlign
from d2deploy.ops.roi_align_rotated import RoIAlignRotated
from d2deploy.ops.roi_pool import RoIPool
from d2deploy.ops.score_threshold import ScoreThreshold
from d2deploy.ops.window_mean import WindowMean
from d2deploy.ops.windows import PadToWindows, Quarter, ShiftedWindowMask, WindowMerge, WindowPartition
from d2deploy.postprocess import to_instances

ONES = (1.0, 1.0, 1.0, 1.0)
sides = st.floats(1, 500)
corners = st.floats(-200, 800)


@given(st.tuples(corners, corners, sides, sides), st.tuples(corners, corners, sides, sides))
def test_decoding_undoes_encoding(anchor: tuple[float, ...], box: tuple[float, ...]) -> None:
    (ax, ay, aw, ah), (bx, by, bw, bh) = anchor, box
    weights = (10.0, 10.0, 5.0, 5.0)
    if max(bw / aw, bh / ah) > 1000 / 16:
        return
    deltas = [(bx - ax) / aw * 10, (by - ay) / ah * 10, math.log(bw / aw) * 5, math.log(bh / ah) * 5]
    decoded = decode_boxes(torch.tensor(deltas), torch.tensor(_corners(ax, ay, aw, ah)), weights)
    torch.testing.assert_close(decoded, torch.tensor(_corners(bx, by, bw, bh)), atol=0.02, rtol=1e-4)


def _corners(x: float, y: float, width: float, height: float) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def test_growth_is_clamped() -> None:
    box = decode_boxes(torch.tensor([0.0, 0, 50, -50]), torch.tensor([0.0, 0, 16, 16]), ONES)
    assert math.isclose(float(box[2] - box[0]), 16 * math.exp(SCALE_CLAMP), rel_tol=1e-5)
    assert float(box[3] - box[1]) == pytest.approx(0, abs=1e-5)


def test_clipping_is_per_image() -> None:
    boxes = torch.tensor([[[-5.0, -5, 50, 50]], [[-5.0, -5, 50, 50]]])
    clipped = clip_boxes(boxes, torch.tensor([[20, 30], [40, 10]]))
    assert clipped.tolist() == [[[0, 0, 30, 20]], [[0, 0, 10, 40]]]


def test_anchors_are_size_major_and_centred_on_cell_corners() -> None:
    cell = cell_anchors((32.0, 64.0), (0.5, 1.0, 2.0))
    assert [round((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in cell] == [1024] * 3 + [4096] * 3
    assert [round((y2 - y1) / (x2 - x1), 3) for x1, y1, x2, y2 in cell] == [0.5, 1, 2] * 2
    grid = anchors_at(torch.arange(12), 3, [[-1.0, -1, 1, 1], [-1.0, -1, 4, 4]], 8, offset=0.0)
    assert grid[::2, :2].add(1).tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]
    assert grid[1::2, 2:].sub(4).tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]


def test_padding_is_zero_after_normalising() -> None:
    prepare = PrepareImages(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), size_divisor=32)
    prepared = prepare(torch.full((2, 3, 33, 5), 50.0), torch.tensor([[33, 5], [7, 2]]))
    assert prepared.shape == (2, 3, 64, 32)
    assert prepared[0, :, 32, 4].tolist() == [40, 15, 5]
    assert prepared[0, :, 33:].abs().sum() == 0 and prepared[0, :, :, 5:].abs().sum() == 0
    assert prepared[1, :, 6, 1].tolist() == [40, 15, 5]
    assert prepared[1, :, 7:].abs().sum() == 0 and prepared[1, :, :, 2:].abs().sum() == 0


def test_image_numbers() -> None:
    assert ImageIndex()(torch.zeros(2, 3, 4)).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_pasting_equals_postprocess() -> None:
    generator = torch.Generator().manual_seed(3)
    probs = torch.rand((6, 14, 14), generator=generator)
    boxes = [[2.0, 3, 40, 47], [0, 0, 64, 48], [10.5, 10.2, 11.1, 30], [1, 1, 2, 2], [50, 20, 64, 48], [5, 5, 60, 6]]
    outputs: dict[str, np.ndarray] = {
        "boxes": np.array(boxes, np.float32),
        "scores": np.linspace(0.9, 0.4, 6, dtype=np.float32),
        "classes": np.zeros(6, np.int64),
        "image_index": np.zeros(6, np.int64),
        "mask_probs": probs.numpy(),
    }
    instances = to_instances(outputs, input_size=(48, 64), image_size=(48, 64))
    assert len(instances) == 6 and instances.pred_masks is not None
    ours = PasteMasks()(probs, torch.tensor(boxes), torch.tensor([[48, 64]])).numpy()
    assert np.count_nonzero(ours ^ instances.pred_masks) <= 1  # float32 sums in another order


def test_pasting_a_full_mask_fills_its_box() -> None:
    pasted = PasteMasks()(torch.ones(1, 28, 28), torch.tensor([[10.0, 5, 30, 25]]), torch.tensor([[20, 50], [40, 30]]))
    assert pasted.shape == (1, 40, 50)
    assert pasted.sum() == 400 and pasted[0, 5:25, 10:30].all()


LEAF_CASES: dict[type[torch.nn.Module], tuple[torch.nn.Module, list[tuple[Any, ...]]]] = {
    AnchorGrid: (
        AnchorGrid(sizes=(32.0,), aspect_ratios=(0.5, 1.0), stride=8, offset=0.0),
        [(torch.zeros(1, 2, 4, 5), torch.arange(40)), (torch.zeros(3, 2, 1, 9), torch.arange(18).reshape(2, 9))],
    ),
    ImageIndex: (ImageIndex(), [(torch.zeros(2, 3),), (torch.zeros(5, 1, 4),)]),
    PrepareImages: (
        PrepareImages(mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 2.0), size_divisor=32),
        [
            (torch.ones(2, 3, 40, 33), torch.tensor([[40, 33], [2, 2]])),
            (torch.ones(1, 3, 1, 64), torch.tensor([[1, 64]])),
        ],
    ),
    PasteMasks: (
        PasteMasks(),
        [
            (torch.rand(2, 7, 7), torch.tensor([[1.0, 1, 9, 9], [2, 2, 5, 5]]), torch.tensor([[12, 10]])),
            (torch.rand(0, 7, 7), torch.zeros(0, 4), torch.tensor([[3, 3], [2, 9]])),
        ],
    ),
    AbsolutePosition: (AbsolutePosition(), [(torch.rand(1, 2, 3, 3), torch.rand(2, h, 4, 5)) for h in (3, 7)]),
    Enlarge: (Enlarge(2), [(torch.rand(2, 3, 2, 2), torch.rand(2, 3, h, 4)) for h in (3, 4)]),
    MaskWindows: (
        MaskWindows(factor=2, is_aligned=True),
        [
            (torch.rand(1, 9, h, 4), torch.rand(1, 1, 2, 2), (torch.tensor([0, 0]), torch.tensor([1, 3])), mine)
            for h, mine in ((3, torch.tensor([True, False])), (4, torch.tensor([True, True])))
        ],
    ),
    Crop: (Crop(2), [(torch.rand(2, 3, 9, 8), torch.rand(1, 1, h, 4)) for h in (1, 4)]),
    PadToLeast: (PadToLeast(5), [(torch.rand(2, 3, h, 7),) for h in (1, 5, 6)]),
    PadToWindows: (PadToWindows(4), [(torch.rand(2, 3, 4, 5),), (torch.rand(1, 3, 1, 9),)]),
    Quarter: (Quarter(), [(torch.rand(2, 3, 4, 5),), (torch.rand(1, 2, 1, 2),)]),
    RegularPoints: (RegularPoints(4), [(torch.zeros(3, 2),), (torch.zeros(0, 2),)]),
    ScoreThreshold: (ScoreThreshold(0.5), [(torch.tensor([[0.4, 0.5, 0.6]]),), (torch.zeros(0, 2),)]),
    RelativeBias: (
        RelativeBias(more_queries=False),
        [(torch.rand(2, h, 3, 4), torch.rand(2, 2 * h, 5, 4), torch.rand(9, 4), torch.rand(9, 4)) for h in (1, 4)],
    ),
    ShiftedWindowMask: (ShiftedWindowMask(4, 2), [(torch.rand(2, 3, 4, 5),), (torch.rand(1, 6, 9, 2),)]),
    WindowBias: (WindowBias(3), [(torch.rand(25, 2),)]),
    WindowMean: (WindowMean(2, 3), [(torch.rand(2, 3, 4, 5),), (torch.rand(1, 2, 1, 2),)]),
    WindowMerge: (WindowMerge(1), [(torch.rand(8, 4, 4, 2), torch.rand(2, h, 7, 1)) for h in (5, 8)]),
    WindowPartition: (WindowPartition(4, 1), [(torch.rand(2, 3, 4, 5),), (torch.rand(1, 6, 9, 2),)]),
}


@pytest.mark.parametrize("leaf", LEAF_CASES, ids=lambda leaf: leaf.__name__)
def test_leaves_script_without_a_device_inside(leaf: type[torch.nn.Module]) -> None:
    op, samples = LEAF_CASES[leaf]
    scripted = torch.jit.script(op)
    assert "Device = prim::Constant" not in str(scripted.inlined_graph)
    for sample in samples:
        assert torch.equal(scripted(*sample), op(*sample))


def test_every_leaf_is_tested() -> None:
    elsewhere = {DeformSample, Found, LabelledNMS, NMS, PointSample, RoIAlign, RoIAlignRotated, RoIPool}
    whole = {FindKeypoints, MergePanoptic, ResizeImage, ResizeMaps}  # test_whole.py
    assert set(LEAVES) == {*LEAF_CASES} | elsewhere | whole
