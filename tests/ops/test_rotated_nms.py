"""NMS of rotated boxes: five numbers a box in the same op as four."""

from typing import Any

import pytest
import torch
from torch import Tensor

from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.nms import NMS, nms
from d2deploy.ops.rotated_iou import rotated_iou

INF = float("inf")


def made(seed: int, shape: tuple[int, int, int], missing: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale, least = torch.tensor([100.0, 100, 50, 30, 360]), torch.tensor([0.0, 0, 5, 5, -180])
    boxes = torch.rand((*shape, 5), generator=generator) * scale + least
    scores = torch.randn(shape, generator=generator)
    return boxes, scores.masked_fill(torch.rand(shape, generator=generator) < missing, -INF)


def greedy(boxes: Tensor, scores: Tensor, threshold: float, max_out: int) -> list[list[int]]:
    """The definition: image by image, best first, drop what a kept box of the same group covers."""
    result = []
    count = scores.shape[2]
    for image in range(scores.shape[0]):
        flat_boxes, flat_scores = boxes[image].reshape(-1, 5), scores[image].reshape(-1)
        order = [i for i in flat_scores.argsort(descending=True, stable=True).tolist() if flat_scores[i] > -INF]
        iou = rotated_iou(flat_boxes[:, None], flat_boxes[None])
        kept: list[int] = []
        for i in order:
            if not any(i // count == j // count and iou[j, i] > threshold for j in kept):
                kept.append(i)
        result.append((kept[:max_out] + [-1] * max_out)[:max_out])
    return result


SHAPES = {
    "one box": (1, 1, 1),
    "no box": (1, 3, 0),
    "classes": (1, 8, 40),
    "batch": (3, 4, 50),
    "several blocks": (1, 2, 400),
    "one group": (2, 1, 300),
}


@pytest.mark.parametrize("max_out", [20, 1000])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_greedy(name: str, max_out: int) -> None:
    boxes, scores = made(1, SHAPES[name])
    expected = greedy(boxes, scores, 0.3, max_out)
    assert nms(boxes, scores, 0.3, max_out).tolist() == expected
    assert name in ("one box", "no box") or min(sum(i >= 0 for i in row) for row in expected) < scores[0].numel()


def test_upright_boxes_are_plain_boxes() -> None:
    boxes, scores = made(2, (2, 3, 100))
    boxes[..., 4] = 0
    half = boxes[..., 2:4] / 2
    plain = torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), dim=-1)
    assert torch.equal(nms(boxes, scores, 0.5, 300), nms(plain, scores, 0.5, 300))


def test_crossing_boxes_stay_where_the_boxes_around_them_would_not() -> None:
    boxes = torch.tensor([[[[50.0, 50, 80, 8, 45], [50, 50, 80, 8, -45], [52, 48, 80, 8, 45]]]])
    assert nms(boxes, torch.tensor([[[3.0, 2, 1]]]), 0.5, 3).tolist() == [[0, 1, -1]]


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captures_give_the_same(capture: str, captures: Any) -> None:
    op = NMS(iou_threshold=0.3, max_out=30)
    captured = captures[capture](op, made(0, (2, 3, 10)))
    for shape in SHAPES.values():
        assert torch.equal(captured(*made(5, shape)), op(*made(5, shape)))


@pytest.mark.parametrize("capture", ["eager", "script", "trace"])
def test_labels_are_groups(capture: str, captures: Any) -> None:
    op = LabelledNMS(iou_threshold=0.3, max_out=40, num_classes=4)

    def labelled(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        labels = torch.arange(scores.shape[1])[None, :, None].expand_as(scores)
        return boxes.flatten(1, 2), scores.flatten(1), labels.flatten(1)

    captured = op if capture == "eager" else captures[capture](op, labelled(*made(0, (2, 4, 10))))
    for shape in ((1, 4, 30), (3, 4, 20), (2, 4, 0)):
        boxes, scores = made(7, shape)
        assert torch.equal(captured(*labelled(boxes, scores)), nms(boxes, scores, 0.3, 40))
