"""Region proposal network: from feature levels to the boxes worth a closer look."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.box_decoder import BoxDecoder
from d2deploy.models.conv import Conv2d
from d2deploy.ops.anchor_grid import AnchorGrid
from d2deploy.ops.boxes import box_sides, clip_boxes
from d2deploy.ops.nms import NMS


class StandardRPNHead(nn.Module):
    """3x3 convolution(s), then objectness and box deltas of every anchor by 1x1 convolutions."""

    def __init__(self, in_channels: int, num_anchors: int, conv_dims: tuple[int, ...], *, box_columns: int = 4) -> None:
        super().__init__()
        self.box_columns = box_columns  # 5: rotated boxes
        dims = [in_channels if dim == -1 else dim for dim in conv_dims]
        convs = [
            Conv2d(before, dim, kernel_size=3, relu=True)
            for before, dim in zip([in_channels, *dims], dims, strict=False)
        ]
        # detectron2 names a single convolution `conv`, several `conv.conv0`, `conv.conv1`, ...
        if len(convs) == 1:
            self.conv: nn.Module = convs[0]
        else:
            self.conv = nn.Sequential()
            for i, conv in enumerate(convs):
                self.conv.add_module(f"conv{i}", conv)
        self.objectness_logits = nn.Conv2d(dims[-1], num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(dims[-1], num_anchors * box_columns, kernel_size=1)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] -> logits[N,H*W*A], deltas[N,H*W*A,box_columns]."""
        hidden = self.conv(feature)
        logits = self.objectness_logits(hidden).permute(0, 2, 3, 1).flatten(1)
        deltas = self.anchor_deltas(hidden).permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.reshape(logits.shape[0], -1, self.box_columns)


class AnchorGenerator(nn.Module):
    """One AnchorGrid a feature level."""

    def __init__(self, config: schema.Anchors, strides: list[int]) -> None:
        super().__init__()
        angles = config.angles or ((),) * len(strides)
        self.levels = nn.ModuleList(
            AnchorGrid(sizes=sizes, aspect_ratios=ratios, angles=turns, stride=stride, offset=config.offset)
            for sizes, ratios, turns, stride in zip(config.sizes, config.aspect_ratios, angles, strides, strict=True)
        )

    def forward(self, features: list[Tensor], index: list[Tensor]) -> list[Tensor]:
        """features[L] of [N,C,H,W], index[L] of [N,K] within a level -> anchors[L] of [N,K,4], rotated ones [N,K,5]."""
        anchors: list[Tensor] = []
        for i, grid in enumerate(self.levels):
            anchors.append(grid(features[i], index[i]))
        return anchors


class RPN(nn.Module):
    """Proposals of each image (detectron2 rpn.py, proposal_utils.find_top_rpn_proposals).

    Per level the `pre_nms_topk` best anchors by raw logit, decoded, clipped to the image, emptied ones dropped, NMS
    within the level, then the `post_nms_topk` best of all levels. With rotated anchors it is detectron2's RRPN
    (rrpn.py), and every [...,4] here is [...,5].
    """

    composite = "RPN"  # what a format that has operators for the whole part knows it by

    def __init__(self, config: schema.RPN, *, channels: int, strides: list[int]) -> None:
        super().__init__()
        self.decode = BoxDecoder(config.bbox_reg_weights)
        self.rpn_head = StandardRPNHead(
            channels, config.anchors.per_cell, config.conv_dims, box_columns=self.decode.columns
        )
        self.anchor_generator = AnchorGenerator(config.anchors, strides)
        self.in_features = list(config.in_features)
        self.pre_nms_topk = config.pre_nms_topk
        self.min_box_size = config.min_box_size
        self.nms = NMS(iou_threshold=config.nms_thresh, max_out=config.post_nms_topk)

    def forward(self, features: dict[str, Tensor], image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """{level: [N,C,H,W]}, image_sizes[N,2] -> boxes[N,P,4] input pixels, logits[N,P]; logit -inf: no proposal."""
        levels = [features[name] for name in self.in_features]
        logits: list[Tensor] = []
        deltas: list[Tensor] = []
        index: list[Tensor] = []
        for feature in levels:
            best, chosen, numbers = self.best_anchors(feature)
            logits.append(best)
            deltas.append(chosen)
            index.append(numbers)
        anchors_NLK4 = torch.stack(self.anchor_generator(levels, index), dim=1)
        boxes_NLK4 = self.decode(torch.stack(deltas, dim=1), anchors_NLK4)
        logits_NLK = torch.stack(logits, dim=1)
        is_finite = torch.isfinite(boxes_NLK4).all(-1) & torch.isfinite(logits_NLK)
        boxes_NLK4 = clip_boxes(boxes_NLK4, image_sizes, self.decode.rotated)
        is_valid = is_finite & (box_sides(boxes_NLK4, self.decode.rotated) > self.min_box_size).all(-1)
        logits_NLK = logits_NLK.masked_fill(~is_valid, float("-inf"))
        return self.keep(boxes_NLK4, logits_NLK)

    def best_anchors(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The `pre_nms_topk` best of a level: logits[N,K] (-inf: there are fewer), deltas[N,K,4], index[N,K] int64."""
        logits, deltas = self.rpn_head(feature)
        padded = nn.functional.pad(logits, [0, self.pre_nms_topk], value=float("-inf"))
        best, index = padded.topk(self.pre_nms_topk, dim=1)
        index = index.masked_fill(best == float("-inf"), 0)
        return best, deltas.gather(1, index[:, :, None].expand(-1, -1, self.decode.columns)), index

    def keep(self, boxes_NLK4: Tensor, logits_NLK: Tensor) -> tuple[Tensor, Tensor]:
        """What NMS leaves: boxes[N,P,4], logits[N,P]."""
        index = self.nms(boxes_NLK4, logits_NLK)
        found = index.clamp(min=0)
        logits = logits_NLK.flatten(1).gather(1, found).masked_fill(index < 0, float("-inf"))
        boxes = boxes_NLK4.flatten(1, 2).gather(1, found[:, :, None].expand(-1, -1, self.decode.columns))
        # A box of no size: pooling must not work on what is no proposal, nor meet a number that is none.
        return boxes.masked_fill((index < 0)[:, :, None], 0.0), logits
