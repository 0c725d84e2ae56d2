"""NMS against the plain greedy loop."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.nms import NMS, nms, pairwise_iou

INF = float("inf")


def greedy(boxes: Tensor, scores: Tensor, threshold: float, max_out: int) -> list[list[int]]:
    """The definition: image by image, best first, drop what a kept box of the same group covers."""
    result = []
    count = scores.shape[2]
    for image in range(scores.shape[0]):
        flat_boxes, flat_scores = boxes[image].reshape(-1, 4), scores[image].reshape(-1)
        order = [i for i in flat_scores.argsort(descending=True, stable=True).tolist() if flat_scores[i] > -INF]
        iou = pairwise_iou(flat_boxes, flat_boxes)
        kept: list[int] = []
        for i in order:
            if not any(i // count == j // count and iou[j, i] > threshold for j in kept):
                kept.append(i)
        result.append((kept[:max_out] + [-1] * max_out)[:max_out])
    return result


def made(seed: int, shape: tuple[int, int, int], side: float = 60, missing: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((*shape, 2), generator=generator) * 100
    boxes = torch.cat([corner, corner + torch.rand((*shape, 2), generator=generator) * side], dim=-1)
    scores = torch.randn(shape, generator=generator)
    return boxes, scores.masked_fill(torch.rand(shape, generator=generator) < missing, -INF)


SHAPES = {
    "one box": (1, 1, 1),
    "no box": (1, 3, 0),
    "classes": (1, 8, 40),
    "batch": (3, 4, 50),
    "several blocks": (1, 2, 700),
    "one group": (2, 1, 300),
}


@pytest.mark.parametrize("max_out", [1, 20, 1000])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_greedy(name: str, max_out: int) -> None:
    boxes, scores = made(1, SHAPES[name])
    assert nms(boxes, scores, 0.5, max_out).tolist() == greedy(boxes, scores, 0.5, max_out)


def test_chains_of_suppression() -> None:
    """Each box covers its neighbour only: greedy keeps every second one, in as many rounds as there are boxes."""
    x = torch.arange(600, dtype=torch.float32) * 4
    boxes = torch.stack((x, torch.zeros(600), x + 10, torch.full((600,), 10.0)), dim=1)[None, None]
    scores = -torch.arange(600, dtype=torch.float32)[None, None]
    assert nms(boxes, scores, 0.4, 1000).tolist() == greedy(boxes, scores, 0.4, 1000)


def test_nothing_left() -> None:
    boxes, scores = made(2, (2, 3, 5))
    assert nms(boxes, torch.full_like(scores, -INF), 0.5, 4).tolist() == [[-1] * 4] * 2


def test_threshold_is_strict() -> None:
    boxes = torch.tensor([[[[0.0, 0, 10, 10], [0, 0, 10, 5]]]])  # IoU exactly 0.5
    scores = torch.tensor([[[2.0, 1.0]]])
    assert nms(boxes, scores, 0.5, 2).tolist() == [[0, 1]]
    assert nms(boxes, scores, 0.49, 2).tolist() == [[0, -1]]


@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_properties(seed: int, threshold: float) -> None:
    boxes, scores = made(seed, (1, 3, 30))
    kept = [i for i in nms(boxes, scores, threshold, 90)[0].tolist() if i >= 0]
    flat_boxes, flat_scores = boxes.reshape(-1, 4), scores.reshape(-1)
    assert len(set(kept)) == len(kept) and all(flat_scores[i] > -INF for i in kept)
    assert flat_scores[kept].tolist() == sorted(flat_scores[kept].tolist(), reverse=True)
    iou = pairwise_iou(flat_boxes, flat_boxes)
    assert not any(iou[i, j] > threshold for i in kept for j in kept if i != j and i // 30 == j // 30)
    only_kept = torch.full_like(scores, -INF)
    only_kept.reshape(-1)[kept] = flat_scores[kept]
    assert [i for i in nms(boxes, only_kept, threshold, 90)[0].tolist() if i >= 0] == kept


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captures_give_the_same(capture: str, captures: Any) -> None:
    op = NMS(iou_threshold=0.5, max_out=30)
    captured = captures[capture](op, made(0, (2, 3, 10)))
    for shape in SHAPES.values():
        assert torch.equal(captured(*made(5, shape)), op(*made(5, shape)))


@pytest.mark.parametrize("capture", ["eager", "script", "trace"])
def test_labels_are_groups(capture: str, captures: Any) -> None:
    """Boxes that carry their group give what boxes lying in groups give."""
    op = LabelledNMS(iou_threshold=0.5, max_out=30, num_classes=4)

    def labelled(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        labels = torch.arange(scores.shape[1])[None, :, None].expand_as(scores)
        order = torch.randperm(scores[0].numel(), generator=torch.Generator().manual_seed(1))
        return boxes.flatten(1, 2)[:, order], scores.flatten(1)[:, order], labels.flatten(1)[:, order]

    captured = op if capture == "eager" else captures[capture](op, labelled(*made(0, (2, 4, 10))))
    for shape in ((1, 4, 50), (3, 4, 20), (2, 4, 0)):
        boxes, scores = made(7, shape)
        flat_boxes, flat_scores, labels = labelled(boxes, scores)
        index = captured(flat_boxes, flat_scores, labels)
        expected = nms(boxes, scores, 0.5, 30)
        assert torch.equal(index < 0, expected < 0)
        for image in range(shape[0]):
            ours, theirs = index[image][index[image] >= 0], expected[image][expected[image] >= 0]
            assert torch.equal(flat_boxes[image][ours], boxes[image].reshape(-1, 4)[theirs])
