"""Instances and semantic labels as one picture: Panoptic FPN's merge."""

import torch
from torch import Tensor, nn


def merge_panoptic(
    masks: Tensor, scores: Tensor, numbers: Tensor, labels: Tensor, *, overlap: float, stuff_area: int, score: float
) -> tuple[Tensor, Tensor]:
    """masks[D,H,W] bool, scores[D] falling within an image, numbers[D,2] int64 class and image, labels[N,H,W] int64

    -> panoptic_seg[N,H,W] int32, ids of segments from 1 on, 0 where there is none; segments[S,6] int64: image, id,
    1 for a thing and 0 for stuff, category, row in masks or -1, pixels.

    Instances down to `score`, each with the pixels that are still free, unless more than the share `overlap` of it is
    taken; then each kind of stuff with what is left of it, from `stuff_area` pixels on (detectron2
    meta_arch/panoptic_fpn.py). Label 0 means: a thing. Same as postprocess/panoptic.py, outside any graph.
    """
    picture = torch.zeros(labels.shape, dtype=torch.int32, device=labels.device)
    counts = [0 for _ in range(labels.shape[0])]
    segments: list[list[int]] = []
    for i in range(masks.shape[0]):
        image = int(numbers[i, 1])
        free = masks[i] & (picture[image] == 0)
        area, left = int(masks[i].sum()), int(free.sum())
        if float(scores[i]) >= score and area > 0 and (area - left) / area <= overlap:
            counts[image] += 1
            picture[image].masked_fill_(free, counts[image])
            segments.append([image, counts[image], 1, int(numbers[i, 0]), i, left])
    for image in range(labels.shape[0]):
        kinds = torch.unique(labels[image])
        for j in range(kinds.shape[0]):
            free = (labels[image] == kinds[j]) & (picture[image] == 0)
            left = int(free.sum())
            if int(kinds[j]) > 0 and left >= stuff_area:
                counts[image] += 1
                picture[image].masked_fill_(free, counts[image])
                segments.append([image, counts[image], 0, int(kinds[j]), -1, left])
    return picture, torch.tensor(segments, dtype=torch.int64, device=labels.device).reshape(len(segments), 6)


class MergePanoptic(nn.Module):
    """`merge_panoptic` with its constants."""

    def __init__(self, *, overlap: float, stuff_area: int, score: float, num_labels: int) -> None:
        super().__init__()
        self.overlap, self.stuff_area, self.score, self.num_labels = overlap, stuff_area, score, num_labels

    def forward(self, masks: Tensor, scores: Tensor, numbers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `merge_panoptic`."""
        return merge_panoptic(
            masks, scores, numbers, labels, overlap=self.overlap, stuff_area=self.stuff_area, score=self.score
        )
