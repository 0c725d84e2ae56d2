"""The score that a detection must be above."""

from torch import Tensor, nn


class ScoreThreshold(nn.Module):
    """Takes out what is not above `threshold`."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = float(threshold)

    def forward(self, scores: Tensor) -> Tensor:
        """scores of any shape -> the same, -inf where they are not above the threshold, or no numbers."""
        return scores.masked_fill(~(scores > self.threshold), float("-inf"))
