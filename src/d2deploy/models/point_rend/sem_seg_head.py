"""The semantic head of PointRend: labels at a quarter of the size, enlarged and mended where they are unsure."""

from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.point_rend.point_head import StandardPointHead
from d2deploy.models.point_rend.points import MapPoints, cell_points, most_unsure


class PointRendSemSegHead(nn.Module):
    """Subdivision: twice the size, then the point head decides about the least sure cells (point_rend/semantic_seg.py).

    A cell is unsure where its two best classes are close.
    """

    def __init__(self, config: schema.PointRendSemSegHead, *, coarse: Any, channels: dict[str, int]) -> None:
        super().__init__()
        self.coarse_sem_seg_head = coarse  # a SemSegFPNHead
        self.point_head = StandardPointHead(
            config.point,
            in_channels=sum(channels[name] for name in config.point.in_features),
            num_classes=config.num_classes,
        )
        self.in_features = list(config.point.in_features)
        self.steps, self.num_points = config.steps, config.num_points
        self.features_at = MapPoints()

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """{level: [N,C,H/stride,W/stride]} -> logits [N,classes,H,W]."""
        coarse = self.coarse_sem_seg_head.layers(features)
        levels = [features[name] for name in self.in_features]
        logits = coarse
        for _ in range(self.steps):
            enlarged = nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            logits = self.mended(enlarged, levels, coarse)
        return logits

    def mended(self, logits: Tensor, levels: list[Tensor], coarse: Tensor) -> Tensor:
        """logits[N,K,H,W] with those of the least sure cells replaced, as levels[L] of [N,C,..] and `coarse` say."""
        best = logits.topk(2, dim=1)[0]
        index = most_unsure((best[:, 1] - best[:, 0]).flatten(1), self.num_points)
        points = cell_points(index, width=logits.shape[3], height=logits.shape[2])
        seen: list[Tensor] = []
        for level in levels:
            seen.append(self.features_at(level, points))
        found = self.point_head.every_class(seen, points, coarse).transpose(1, 2)
        return logits.flatten(2).scatter(2, index[:, None].expand(-1, found.shape[1], -1), found).reshape_as(logits)
