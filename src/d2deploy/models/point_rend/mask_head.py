"""Mask heads of PointRend: a mask that grows, and is mended where it is unsure."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.point_rend.conv_fc_head import ConvFCHead
from d2deploy.models.point_rend.point_head import ImplicitPointHead, StandardPointHead
from d2deploy.models.point_rend.points import BoxPoints, cell_points
from d2deploy.models.pooler import BoxLevels
from d2deploy.ops.regular_points import RegularPoints

Source = tuple[list[Tensor], Tensor, Tensor]


class NoPooler(nn.Module):
    """Stands where other mask heads have their pooler: these look at feature maps themselves."""

    def forward(self, levels: list[Tensor], boxes: Tensor, image_index: Tensor) -> Source:
        """All three as they are."""
        return levels, boxes, image_index


class PointRendMaskHead(nn.Module):
    """Subdivision: twice the size, then the point head decides about the least sure cells, again and again.

    detectron2's PointRendMaskHead and ImplicitPointRendMaskHead (point_rend/mask_head.py). They differ in what the
    first layers, `about_box`, tell the point head: a coarse mask, or the point head's own weights. Only the channel of
    each detection's class is computed.
    """

    def __init__(
        self,
        subdivision: schema.Subdivision,
        *,
        point_head: nn.Module,
        about_box: tuple[str, nn.Module],  # detectron2's name of the first layers, and they
        regular_at: BoxPoints,  # what they see
        features_at: BoxPoints,  # what the point head sees
        resolution: int,
    ) -> None:
        super().__init__()
        self.point_head = point_head
        self.add_module(*about_box)
        self.about_box = Alias(self, [about_box[0]])
        self.regular_at, self.features_at = regular_at, features_at
        self.resolution, self.start = resolution, subdivision.start
        self.steps, self.num_points = subdivision.steps, subdivision.num_points
        self.regular = RegularPoints(resolution)
        self.first_points = RegularPoints(subdivision.start)

    def forward(self, source: Source, classes: Tensor) -> Tensor:
        """Feature levels, boxes[D,4] input pixels, image_index[D]; classes[D] int64 -> probabilities [D,side,side]."""
        levels, boxes, image_index = source
        seen = torch.cat(self.regular_at(levels, boxes, image_index, self.regular(boxes)), dim=2)
        about = boxes
        for head in self.about_box:
            about = head(seen.unflatten(1, [self.resolution, self.resolution]).permute(0, 3, 1, 2))
        points = self.first_points(boxes)
        logits = self.point_head(self.features_at(levels, boxes, image_index, points), points, about, classes)
        side = self.start
        mask = logits.reshape(-1, 1, side, side)
        for _ in range(self.steps):
            side = side * 2
            mask = nn.functional.interpolate(mask, scale_factor=2.0, mode="bilinear", align_corners=False)
            flat = mask.reshape(-1, side * side)
            index = (-flat.abs()).topk(self.num_points, dim=1)[1]
            points = cell_points(index, width=side, height=side)
            logits = self.point_head(self.features_at(levels, boxes, image_index, points), points, about, classes)
            mask = flat.scatter(1, index, logits).reshape(-1, 1, side, side)
        return mask[:, 0].sigmoid()


def point_rend_branch(
    config: schema.PointRendMaskHead, levels: BoxLevels, num_classes: int
) -> tuple[nn.Module, nn.Module]:
    """No pooler, and the head on `levels`."""
    coarse, point = config.coarse, config.point
    shape = (num_classes, config.coarse_side, config.coarse_side)
    in_channels = levels.channels * len(point.in_features)
    return NoPooler(), PointRendMaskHead(
        config.subdivision,
        point_head=StandardPointHead(point, in_channels=in_channels, num_classes=num_classes),
        about_box=("coarse_head", _conv_fc_head(coarse, levels, shape)),
        regular_at=BoxPoints(coarse.in_features, levels),
        features_at=BoxPoints(point.in_features, levels),
        resolution=coarse.resolution,
    )


def implicit_branch(
    config: schema.ImplicitPointRendMaskHead, levels: BoxLevels, num_classes: int
) -> tuple[nn.Module, nn.Module]:
    """No pooler, and the head on `levels`."""
    first, point = config.parameters, config.point
    in_channels = levels.channels * len(point.in_features)
    point_head = ImplicitPointHead(point, in_channels=in_channels, num_classes=num_classes)
    return NoPooler(), PointRendMaskHead(
        config.subdivision,
        point_head=point_head,
        about_box=("parameter_head", _conv_fc_head(first, levels, (point_head.num_params,))),
        regular_at=BoxPoints(first.in_features, levels),
        features_at=BoxPoints(point.in_features, levels),
        resolution=first.resolution,
    )


def _conv_fc_head(config: schema.ConvFCHead, levels: BoxLevels, out_shape: tuple[int, ...]) -> ConvFCHead:
    return ConvFCHead(config, in_channels=levels.channels * len(config.in_features), out_shape=out_shape)
