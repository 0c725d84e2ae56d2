"""Non-maximum suppression within groups, and the best of what is left per image: one op for RPN and heads.

N images, G groups (classes, or feature levels), M boxes a group. Exact and greedy, as detectron2's batched_nms on
its per-class path (torchvision): a box falls to a better kept box of its group when their IoU is strictly above the
threshold. Groups are compared inside; shifting coordinates per class instead costs 0.03 px at 80 classes and wrong
results at 1203. A box is x1 y1 x2 y2 or, rotated, center x, center y, width, height, angle: four numbers or five.
"""

import torch
from torch import Tensor, nn

from d2deploy.ops.rotated_iou import rotated_covers


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every pair. a[A,4], b[B,4] -> [A,B]; 0/0 (two empty boxes) gives NaN, which is above no threshold."""
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (bottom_right - top_left).clamp(min=0)
    intersection = overlap[:, :, 0] * overlap[:, :, 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return intersection / (area_a[:, None] + area_b[None, :] - intersection)


def covers(a: Tensor, b: Tensor, among: Tensor, iou_threshold: float) -> Tensor:
    """Which pairs of `among`[A,B] bool have an IoU above the threshold: a[A,4 or 5], b[B,4 or 5] -> bool [A,B]."""
    if a.shape[1] == 5:
        return rotated_covers(a, b, among, iou_threshold)
    return (pairwise_iou(a, b) > iou_threshold) & among


def greedy_keep(boxes: Tensor, groups: Tensor, iou_threshold: float, max_out: int) -> Tensor:
    """Indices that greedy NMS keeps of boxes[M,4 or 5] by falling score, groups[M]; the first `max_out`, ascending.

    Works in blocks: what earlier blocks kept removes at once; inside a block "kept = no kept better box removes it"
    is iterated to its fixed point, which is greedy NMS because each box depends on better ones only.
    """
    kept = torch.zeros([0], dtype=torch.int64, device=boxes.device)
    for start in range(0, boxes.shape[0], 256):
        if kept.shape[0] >= max_out:
            break
        block = torch.arange(start, min(start + 256, boxes.shape[0]), device=boxes.device)
        alike = groups[kept][:, None] == groups[block]
        block = block[~covers(boxes[kept], boxes[block], alike, iou_threshold).any(dim=0)]
        later_alike = (groups[block][:, None] == groups[block]).triu(1)
        better = covers(boxes[block], boxes[block], later_alike, iou_threshold)
        alive = torch.ones_like(block, dtype=torch.bool)
        settled = False
        while not settled:
            now = ~(better & alive[:, None]).any(dim=0)
            settled = bool(torch.equal(now, alive))
            alive = now
        kept = torch.cat((kept, block[alive]))
    return kept[:max_out]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, max_out: int) -> Tensor:
    """The best boxes of each image that no better box of their group covers.

    boxes[N,G,M,4 or 5], scores[N,G,M] (-inf: no box) -> int64 [N,max_out]: indices into G*M by falling score, then -1.
    """
    groups = torch.arange(scores.shape[1], device=scores.device)[None, :, None].expand_as(scores)
    return nms_of_labelled(
        boxes.flatten(1, 2), scores.flatten(1), groups.flatten(1), iou_threshold=iou_threshold, max_out=max_out
    )


def nms_of_labelled(boxes: Tensor, scores: Tensor, groups: Tensor, *, iou_threshold: float, max_out: int) -> Tensor:
    """The same for boxes that carry their group: boxes[N,B,4 or 5], scores[N,B], groups[N,B]

    -> int64 [N,max_out] into B.
    """
    best = torch.full([scores.shape[0], max_out], -1, dtype=torch.int64, device=scores.device)
    for image in range(scores.shape[0]):
        candidates = (scores[image] > float("-inf")).nonzero().squeeze(1)
        order = scores[image][candidates].argsort(descending=True, stable=True)
        candidates = candidates[order]
        kept = greedy_keep(boxes[image][candidates], groups[image][candidates], iou_threshold, max_out)
        best[image, : kept.shape[0]] = candidates[kept]
    return best


class NMS(nn.Module):
    """`nms` with its constants. `is_of_detections`: it is the last one, whose threshold a user may want to change."""

    def __init__(self, *, iou_threshold: float, max_out: int, is_of_detections: bool = False) -> None:
        super().__init__()
        self.iou_threshold, self.max_out = float(iou_threshold), max_out
        self.is_of_detections = is_of_detections

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """See `nms`."""
        return nms(boxes, scores, self.iou_threshold, self.max_out)
