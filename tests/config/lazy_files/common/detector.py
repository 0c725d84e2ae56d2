# ruff: noqa
# mypy: ignore-errors
# Read by test_lazy.py, never run.
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, GeneralizedRCNN
from detectron2.modeling.backbone import BasicStem, ResNet
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, FastRCNNOutputLayers, StandardROIHeads

from .numbers import numbers

model = L(GeneralizedRCNN)(
    backbone=L(FPN)(
        bottom_up=L(ResNet)(
            stem=L(BasicStem)(in_channels=3, out_channels=8, norm="FrozenBN"),
            stages=L(ResNet.make_default_stages)(depth=18, norm="FrozenBN"),
            out_features=["res2", "res3"],
        ),
        in_features="${.bottom_up.out_features}",
        out_channels=16,
    ),
    roi_heads=L(StandardROIHeads)(
        num_classes=5,
        box_head=L(FastRCNNConvFCHead)(input_shape=ShapeSpec(channels=16, height=7, width=7), fc_dims=[32] * 2),
        box_predictor=L(FastRCNNOutputLayers)(input_shape=ShapeSpec(channels=32), num_classes="${..num_classes}"),
    ),
    pixel_mean=numbers.mean,
    pixel_std=[x / 2 for x in (1, 2, 3)],
)
