"""From what NMS kept of each image to one list of all images' boxes."""

from torch import Tensor, nn


def rows_at(image_index: Tensor, index: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of boxes[N,G,B,4 or 5] and scores[N,G,B] at image_index[D] and index[D] into G*B -> [D,4 or 5], [D]."""
    group = index.div(scores.shape[2], rounding_mode="floor")
    member = index - group * scores.shape[2]
    return boxes[image_index, group, member], scores[image_index, group, member]


def found(best: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """best[N,M] int64 into G*B as NMS gives it, -1 for none; boxes[N,G,B,4 or 5], scores[N,G,B]

    -> boxes[D,4 or 5], scores[D], index[D] int64 into G*B, image_index[D] int64: images in order, in NMS's order.
    """
    where = (best >= 0).nonzero()
    image_index, index = where[:, 0], best[where[:, 0], where[:, 1]]
    kept, kept_scores = rows_at(image_index, index, boxes, scores)
    return kept, kept_scores, index, image_index


class Found(nn.Module):
    """`found` as a module. `max_out`: how many an image has at most, M; 0: nobody knows."""

    def __init__(self, *, max_out: int) -> None:
        super().__init__()
        self.max_out = max_out

    def forward(self, best: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `found`."""
        return found(best, boxes, scores)
