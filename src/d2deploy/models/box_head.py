"""Box head: pooled features to class scores and refined boxes."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.box_decoder import BoxDecoder
from d2deploy.models.conv import Conv2d
from d2deploy.models.registered import ShapeSpec, make_part
from d2deploy.registry import ROI_BOX_HEAD_REGISTRY


class FastRCNNConvFCHead(nn.Sequential):
    """conv1.., then fc1.. over the flattened (channel, row, column) cells, each with ReLU."""

    def __init__(self, config: schema.BoxHead, *, in_channels: int) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for i, dim in enumerate(config.conv_dims, start=1):
            layers[f"conv{i}"] = Conv2d(channels, dim, kernel_size=3, norm=config.norm, relu=True)
            channels = dim
        size = channels * config.pooler.resolution**2
        layers["flatten"] = nn.Flatten()
        for i, dim in enumerate(config.fc_dims, start=1):
            layers[f"fc{i}"] = nn.Linear(size, dim)
            layers[f"fc_relu{i}"] = nn.ReLU()
            size = dim
        super().__init__(layers)
        self.out_channels = size


def build_box_head(config: schema.BoxHead, *, in_channels: int) -> tuple[nn.Module, int]:
    """The box head of `config`, and how many numbers it gives of a box."""
    if config.part is None:
        head = FastRCNNConvFCHead(config, in_channels=in_channels)
        return head, head.out_channels
    side = config.pooler.resolution
    part = make_part(ROI_BOX_HEAD_REGISTRY, config.part, ShapeSpec(channels=in_channels, height=side, width=side))
    shape: ShapeSpec = part.output_shape() if callable(part.output_shape) else part.output_shape
    return part, (shape.channels or 0) * (shape.height or 1) * (shape.width or 1)


class FastRCNNOutputLayers(nn.Module):
    """Class scores (background last) and box deltas; decodes them against the proposals.

    Trained with USE_SIGMOID_CE each class has a probability of its own, otherwise they share 1 with the background.
    USE_FED_LOSS leaves how often each class is sampled in the checkpoint, which inference does not read (detectron2
    fast_rcnn.py).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        cls_agnostic_bbox_reg: bool,
        bbox_reg_weights: tuple[float, ...],
        use_sigmoid_ce: bool = False,
        use_fed_loss: bool = False,
    ) -> None:
        super().__init__()
        self.use_sigmoid_ce = use_sigmoid_ce
        if use_fed_loss:
            self.register_buffer("fed_loss_cls_weights", torch.ones(num_classes))
        self.num_box_classes = 1 if cls_agnostic_bbox_reg else num_classes
        self.cls_score = nn.Linear(in_channels, num_classes + 1)
        self.decode = BoxDecoder(bbox_reg_weights)
        self.bbox_pred = nn.Linear(in_channels, self.num_box_classes * self.decode.columns)

    def forward(self, hidden: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """hidden[R,C], proposals[R,4] -> scores[R,K] of the K classes, boxes[R,K or 1,4] (one when class-agnostic).

        Rotated boxes, where the decoder has five weights, have five columns.
        """
        logits = self.cls_score(hidden)
        scores = logits.sigmoid() if self.use_sigmoid_ce else logits.softmax(dim=1)
        deltas = self.bbox_pred(hidden).reshape(-1, self.num_box_classes, self.decode.columns)
        return scores[:, :-1], self.decode(deltas, proposals[:, None])
