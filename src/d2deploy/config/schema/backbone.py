"""ResNet backbones and the feature pyramid on any backbone."""

from dataclasses import dataclass

from d2deploy.config.schema.mvit import MViT
from d2deploy.config.schema.regnet import RegNet
from d2deploy.config.schema.swin import SwinTransformer


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """MODEL.RESNETS.*"""

    depth: int
    norm: str
    num_groups: int
    width_per_group: int
    stride_in_1x1: bool
    stem_out_channels: int
    res2_out_channels: int
    res5_dilation: int
    out_features: tuple[str, ...]
    deform_on_per_stage: tuple[bool, ...]  # res2..res5
    deform_modulated: bool  # version 2
    deform_num_groups: int
    freeze_at: int  # stages below it are built with FrozenBN, whatever `norm` says
    stem_type: str = "basic"  # or "deeplab": three 3x3 convolutions
    res4_dilation: int = 1
    res5_multi_grid: tuple[int, ...] = (1, 1, 1)  # res5's dilation is multiplied by it, block by block
    trident_stage: str = ""  # such as "res4": its 3x3 convolutions have `trident_dilation`, and it keeps its stride
    trident_dilation: int = 1


@dataclass(frozen=True, kw_only=True)
class FPN:
    """MODEL.FPN.*"""

    bottom_up: "BottomUp"
    in_features: tuple[str, ...]
    out_channels: int
    norm: str
    fuse_type: str  # "sum" or "avg"
    top_block: str  # "": none; "maxpool": one level more; "p6p7": two more, by convolutions on `top_in_feature`
    top_in_feature: str  # "res5" (RetinaNet) or "p5" (FCOS)
    square_size: int = 0  # the input is padded to a square of this side; 0: to a multiple of the stride


BottomUp = ResNet | RegNet | MViT | SwinTransformer  # what a pyramid can stand on
