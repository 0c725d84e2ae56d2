"""Box head: pooled features to class scores and refined boxes."""

from collections import OrderedDict

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.conv import Conv2d
from d2deploy.ops.boxes import decode_boxes


class FastRCNNConvFCHead(nn.Sequential):
    """conv1.., then fc1.. over the flattened (channel, row, column) cells, each with ReLU."""

    def __init__(self, config: schema.BoxHead, *, in_channels: int) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for i in range(1, config.num_conv + 1):
            layers[f"conv{i}"] = Conv2d(channels, config.conv_dim, kernel_size=3, norm=config.norm, relu=True)
            channels = config.conv_dim
        size = channels * config.pooler.resolution**2
        layers["flatten"] = nn.Flatten()
        for i in range(1, config.num_fc + 1):
            layers[f"fc{i}"] = nn.Linear(size, config.fc_dim)
            layers[f"fc_relu{i}"] = nn.ReLU()
            size = config.fc_dim
        super().__init__(layers)
        self.out_channels = size


class FastRCNNOutputLayers(nn.Module):
    """Class scores (background last) and box deltas; decodes them against the proposals."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        cls_agnostic_bbox_reg: bool,
        bbox_reg_weights: tuple[float, float, float, float],
    ) -> None:
        super().__init__()
        self.num_box_classes = 1 if cls_agnostic_bbox_reg else num_classes
        self.cls_score = nn.Linear(in_channels, num_classes + 1)
        self.bbox_pred = nn.Linear(in_channels, self.num_box_classes * 4)
        self.bbox_reg_weights = bbox_reg_weights

    def forward(self, hidden: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """hidden[R,C], proposals[R,4] -> scores[R,K] of the K classes, boxes[R,K or 1,4] (one when class-agnostic)."""
        scores = self.cls_score(hidden).softmax(dim=1)[:, :-1]
        deltas = self.bbox_pred(hidden).reshape(-1, self.num_box_classes, 4)
        return scores, decode_boxes(deltas, proposals[:, None], self.bbox_reg_weights)
