"""RoI heads of C4 models: the backbone's last stage, run on each box, is the box head and feeds the mask head."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.box_head import FastRCNNOutputLayers
from d2deploy.models.detections import DetectionSelector
from d2deploy.models.mask_head import MaskRCNNConvUpsampleHead
from d2deploy.models.pooler import ROIPooler
from d2deploy.models.resnet import res5_of_boxes
from d2deploy.ops.image_index import ImageIndex


class Res5ROIHeads(nn.Module):
    """res5 on pooled features, averaged for the box predictor (detectron2 roi_heads.py, Res5ROIHeads)."""

    composite = "Res5ROIHeads"  # what a format that has operators for the whole part knows it by

    def __init__(self, config: schema.Res5ROIHeads, *, channels: int, strides: list[int]) -> None:
        super().__init__()
        self.in_features = list(config.in_features)
        self.pooler = ROIPooler(config.pooler, strides=strides)
        self.res5 = res5_of_boxes(config.resnet, in_channels=channels)
        out_channels = config.resnet.res2_out_channels * 8
        self.box_predictor = FastRCNNOutputLayers(
            in_channels=out_channels,
            num_classes=config.detections.num_classes,
            cls_agnostic_bbox_reg=config.cls_agnostic_bbox_reg,
            bbox_reg_weights=config.bbox_reg_weights,
            use_sigmoid_ce=config.use_sigmoid_ce,
            use_fed_loss=config.use_fed_loss,
        )
        self.image_index = ImageIndex()
        self.select = DetectionSelector(config.detections)
        self.mask_head: nn.Module | None = None
        if config.mask is not None:
            self.mask_head = MaskRCNNConvUpsampleHead(
                config.mask, in_channels=out_channels, num_classes=config.detections.num_classes
            )

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, proposals[N,P,4] and logits[N,P] of the RPN, image_sizes[N,2] -> the core's outputs."""
        levels = [features[name] for name in self.in_features]
        rows, image_index = proposals.flatten(0, 1), self.image_index(proposals).flatten()
        hidden = self.res5(self.pooler(levels, rows, image_index)).mean(dim=[2, 3])
        scores, boxes = self.box_predictor(hidden, rows)
        detections = self.select(boxes, scores, logits, image_sizes)
        if self.mask_head is not None:
            pooled = self.pooler(levels, detections[0], detections[3])
            detections.append(self.mask_head(self.res5(pooled), detections[2]))
        return detections
