"""FCOS's own arithmetic: distances to boxes, and the score that centerness is part of."""

import math

import pytest
import torch

from d2deploy.config import schema
from d2deploy.models.fcos import FCOSHead
from d2deploy.ops.boxes import decode_distances

HEAD = schema.FCOS(
    in_features=("p3",),
    detections=schema.Detections(num_classes=2, score_thresh=0.2, nms_thresh=0.6, detections_per_image=100),
    conv_dims=(1,),
    norm="",
    normalize_by_size=True,
    topk_candidates=1000,
)


@pytest.mark.parametrize(
    ("by_size", "box"), [(True, [-4.0, 20 - 8 * 0.5, 12.0, 20 + 8 * 3]), (False, [11.0, 19.5, 12.0, 23.0])]
)
def test_distances_reach_from_the_middle(by_size: bool, box: list[float]) -> None:
    """Left 1 or 2, top 0.5, right below 0, bottom 3, from the middle (12, 20) of an anchor of 8 pixels a side."""
    anchors = torch.tensor([8.0, 16.0, 16.0, 24.0])
    left = 2.0 if by_size else 1.0
    decoded = decode_distances(torch.tensor([left, 0.5, -7.0, 3.0]), anchors, by_size)
    assert decoded.tolist() == box


def test_distances_broadcast() -> None:
    assert decode_distances(torch.zeros(2, 0, 4), torch.zeros(2, 0, 4), True).shape == (2, 0, 4)
    assert decode_distances(torch.ones(3, 1, 4), torch.zeros(5, 4), False).shape == (3, 5, 4)


@torch.inference_mode()
def test_a_score_is_the_geometric_mean_with_centerness() -> None:
    """A head that passes the one channel on: class scores of 1x and -1x, centerness of 2x, in each cell."""
    head = FCOSHead(HEAD, channels=1)
    for name, tensor in head.state_dict().items():
        tensor.zero_()
        if name.endswith("weight"):
            tensor[..., 1, 1] = 1.0
    head.cls_score.weight[1] *= -1
    head.ctrness.weight *= 2
    head.bbox_pred.bias.copy_(torch.tensor([0.0, 10.0, 20.0, 30.0]))
    feature = torch.tensor([[[[0.0, 1.0, 3.0], [0.5, 2.0, 4.0]]]])
    scores, distances = head(feature, 0)
    cells = feature.flatten().tolist()

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = [math.sqrt(sigmoid(sign * x) * sigmoid(2 * x)) for x in cells for sign in (1, -1)]
    torch.testing.assert_close(scores, torch.tensor([expected]))
    torch.testing.assert_close(distances, torch.tensor([[[x, x + 10, x + 20, x + 30] for x in cells]]))
