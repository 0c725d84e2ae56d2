"""Decoding, clipping, levels and anchors of rotated boxes: against the numbers of their definitions."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.models.box_decoder import BoxDecoder
from d2deploy.ops.anchor_grid import AnchorGrid
from d2deploy.ops.boxes import SCALE_CLAMP, box_sides, clip_boxes
from d2deploy.ops.levels import assign_levels
from d2deploy.ops.rotated_boxes import decode_rotated_boxes

WEIGHTS = [10.0, 10.0, 5.0, 5.0, 2.0]
centers, sides, angles = st.floats(-200, 800), st.floats(1, 500), st.floats(-180, 179.9)
boxes = st.tuples(centers, centers, sides, sides, angles)


@given(boxes, boxes)
def test_decoding_undoes_encoding(anchor: tuple[float, ...], box: tuple[float, ...]) -> None:
    """The encoding is detectron2's Box2BoxTransformRotated.get_deltas; the turn is in radians."""
    (ax, ay, aw, ah, angle), (x, y, width, height, degrees) = anchor, box
    if max(width / aw, height / ah) > 1000 / 16:
        return
    turn = math.radians((degrees - angle + 180) % 360 - 180)
    deltas = [(x - ax) / aw * 10, (y - ay) / ah * 10, math.log(width / aw) * 5, math.log(height / ah) * 5, turn * 2]
    decoded = decode_rotated_boxes(torch.tensor(deltas), torch.tensor(anchor), WEIGHTS)
    torch.testing.assert_close(decoded[:4], torch.tensor(box[:4]), atol=0.02, rtol=1e-4)
    assert -180 <= float(decoded[4]) < 180
    assert abs((float(decoded[4]) - degrees + 180) % 360 - 180) <= 1e-2


@pytest.mark.parametrize(
    ("angle", "turn", "expected"), [(170, 20, -170), (-170, -20, 170), (179, 1, -180), (-180, 0, -180), (90, 720, 90)]
)
def test_angles_become_normal(angle: float, turn: float, expected: float) -> None:
    anchor = torch.tensor([0.0, 0, 1, 1, angle])
    decoded = decode_rotated_boxes(torch.tensor([0, 0, 0, 0, math.radians(turn)]), anchor, [1.0] * 5)
    assert float(decoded[4]) == pytest.approx(expected, abs=1e-4)


def test_growth_is_clamped() -> None:
    box = decode_rotated_boxes(torch.tensor([0.0, 0, 50, -50, 0]), torch.tensor([0.0, 0, 16, 16, 0]), [1.0] * 5)
    assert math.isclose(float(box[2]), 16 * math.exp(SCALE_CLAMP), rel_tol=1e-5)
    assert float(box[3]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 40, 40, 0), (15, 15, 30, 30, 0)),
        ((10, 10, 40, 40, 1), (15, 15, 30, 30, 1)),
        ((10, 10, 40, 40, -1), (15, 15, 30, 30, -1)),
        ((10, 10, 40, 40, 1.01), (10, 10, 40, 40, 1.01)),
        ((10, 10, 40, 40, 90), (10, 10, 40, 40, 90)),
        ((10, 10, 40, 40, 180), (10, 10, 40, 40, -180)),
        ((10, 10, 40, 40, 360.5), (15, 15, 30, 30, 0.5)),
        ((90, 50, 40, 20, 0), (85, 50, 30, 20, 0)),
        ((200, 30, 20, 20, 0), (100, 30, 0, 20, 0)),
        ((-50, -50, 20, 20, 45), (-50, -50, 20, 20, 45)),
    ],
)
def test_only_upright_boxes_are_cut(box: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """The rule of detectron2's RotatedBoxes.clip, on an image 100 wide and 60 high."""
    clipped = clip_boxes(torch.tensor([[box]], dtype=torch.float32), torch.tensor([[60, 100]]), True)
    assert clipped[0, 0].tolist() == pytest.approx(expected, abs=1e-4)


def test_clipping_is_per_image_and_never_enlarges() -> None:
    made = torch.rand((3, 4, 50, 5), generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 100, 60, 60, 2])
    clipped = clip_boxes(made, torch.tensor([[20, 30], [40, 10], [100, 100]]), True)
    assert clipped.shape == made.shape
    before, after = box_sides(made, True), box_sides(clipped, True)
    assert (after <= before).all() and (after < before).any()
    upright = made[..., 4] <= 1
    end = clipped[..., :2] + after / 2
    limits = torch.tensor([[30.0, 20], [10, 40], [100, 100]])[:, None, None]
    assert (end <= limits + 1e-4).all(-1)[upright].all()


def test_levels_go_by_area() -> None:
    rotated = torch.tensor([[0, 0, 224 / ratio, 224 * ratio, 30] for ratio in (0.25, 1.0, 8.0)] + [[0, 0, 112, 111, 0]])
    assert assign_levels(rotated * torch.tensor([1, 1, 1.001, 1, 1]), 2, 5, True).tolist() == [2, 2, 2, 0]


@pytest.mark.parametrize("capture", ["eager", "script", "trace"])
def test_anchors_turn_innermost(capture: str, captures: Any) -> None:
    """detectron2's RotatedAnchorGenerator: sizes, then ratios, then angles; the offset moves the center only."""
    op: Any = AnchorGrid(sizes=(32, 64), aspect_ratios=(0.25, 1.0), angles=(-90, 0, 45), stride=8, offset=0.5)
    grid = op if capture == "eager" else captures[capture](op, (torch.zeros(1, 1, 2, 2), torch.arange(5)))
    anchors = grid(torch.zeros(1, 1, 3, 4), torch.arange(144)).reshape(3, 4, 12, 5)
    assert anchors[0, 0, :4].tolist() == [
        [4, 4, 64, 16, -90],
        [4, 4, 64, 16, 0],
        [4, 4, 64, 16, 45],
        [4, 4, 32, 32, -90],
    ]
    assert anchors[2, 3, 11].tolist() == [28, 20, 64, 64, 45]


@pytest.mark.parametrize("capture", ["eager", "script", "trace"])
@pytest.mark.parametrize("columns", [4, 5])
def test_the_weights_say_which_boxes_are_decoded(columns: int, capture: str, captures: Any) -> None:
    weights = tuple(WEIGHTS[:columns])
    op: Any = BoxDecoder(weights)
    decode = (
        op if capture == "eager" else captures[capture](op, (torch.zeros(2, 3, columns), torch.ones(2, 1, columns)))
    )
    anchor = torch.tensor([10.0, 10, 30, 30, 20][:columns])
    delta = torch.tensor([1.0, 1, 0, 0, math.pi][:columns])
    assert decode(delta.expand(4, 1, -1), anchor.expand(4, 1, -1)).shape == (4, 1, columns)
    expected = [12, 12, 32, 32] if columns == 4 else [13, 13, 30, 30, 110]
    assert decode(delta[None, None], anchor[None, None])[0, 0].tolist() == pytest.approx(expected, abs=1e-4)
