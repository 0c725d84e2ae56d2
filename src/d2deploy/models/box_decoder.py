"""Boxes from deltas: upright ones or rotated ones, as the config has four weights or five."""

from torch import Tensor, nn

from d2deploy.ops.boxes import decode_boxes
from d2deploy.ops.rotated_boxes import decode_rotated_boxes


class BoxDecoder(nn.Module):
    """`decode_boxes` or `decode_rotated_boxes` with their weights."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        super().__init__()
        self.weights = list(weights)
        self.columns = len(weights)
        self.rotated = self.columns == 5

    def forward(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """deltas[...,4 or 5], anchors[...,4 or 5], broadcast -> boxes[...,4 or 5] float32."""
        if self.rotated:
            return decode_rotated_boxes(deltas, anchors, self.weights)
        x, y, width, height = self.weights[0], self.weights[1], self.weights[2], self.weights[3]
        return decode_boxes(deltas, anchors, (x, y, width, height))
