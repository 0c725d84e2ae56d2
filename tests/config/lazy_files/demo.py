# ruff: noqa
# mypy: ignore-errors
# Read by tests, run by those of --trust-config: the demo's network (src/d2deploy/demo/config.yaml) as a LazyConfig.
import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling import ResNet

from ..common.data.coco import dataloader
from ..common.models.mask_rcnn_fpn import model
from ..common.train import train

dataloader.test.dataset.names = "shapes_val"
dataloader.test.mapper.augmentations = [L(T.ResizeShortestEdge)(short_edge_length=192, max_size=320)]
train.init_checkpoint = "model_final.pth"

width = 16
resnet = model.backbone.bottom_up
resnet.stem.out_channels, resnet.stem.norm = width, "BN"
resnet.stages = [
    L(ResNet.make_stage)(
        block_class=BottleneckBlock,
        num_blocks=count,
        stride_per_block=[1 if stage == 0 else 2] + [1] * (count - 1),
        in_channels=width if stage == 0 else 2 * width * 2**stage,
        out_channels=4 * width * 2**stage,
        bottleneck_channels=width * 2**stage,
        norm="BN",
    )
    for stage, count in enumerate([3, 4, 6, 3])
]
model.pixel_std = [57.375, 57.12, 58.395]
model.backbone.out_channels = 64
model.proposal_generator.update(pre_nms_topk=(400, 400), post_nms_topk=(250, 150))
model.proposal_generator.head.in_channels = "${...backbone.out_channels}"
model.proposal_generator.anchor_generator.sizes = [[12], [24], [48], [96], [160]]
heads = model.roi_heads
heads.num_classes = 8
heads.box_head.update(input_shape=ShapeSpec(channels=64, height=7, width=7), fc_dims=[128, 128])
heads.box_predictor.input_shape = ShapeSpec(channels=128)
heads.mask_head.update(input_shape=ShapeSpec(channels=64, height=14, width=14), conv_dims=[64, 64, 64])
