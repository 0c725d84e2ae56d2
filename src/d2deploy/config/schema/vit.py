"""The plain vision transformer of ViTDet, and the pyramid made of its only map."""

from dataclasses import dataclass

from d2deploy.config.schema.backbone import BottomUp


@dataclass(frozen=True, kw_only=True)
class ViT:
    """Arguments and defaults of detectron2's ViT (modeling/backbone/vit.py), without those of training alone."""

    img_size: int = 1024  # gives the size of the tables of relative positions of blocks without windows
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-5  # of norm_layer, which is LayerNorm; the official configs give 1e-6
    use_abs_pos: bool = True
    use_rel_pos: bool = False
    window_size: int = 0  # patches a side; 0: no block has windows
    window_block_indexes: tuple[int, ...] = ()
    residual_block_indexes: tuple[int, ...] = ()  # blocks with a convolutional block after them
    pretrain_img_size: int = 224  # gives the size of the table of absolute positions
    pretrain_use_cls_token: bool = True  # that table has one row more, which is not used
    out_feature: str = "last_feat"


@dataclass(frozen=True, kw_only=True)
class SimpleFeaturePyramid:
    """Arguments and defaults of detectron2's SimpleFeaturePyramid (modeling/backbone/vit.py)."""

    net: ViT | BottomUp
    in_feature: str
    out_channels: int
    scale_factors: tuple[float, ...]  # of 4, 2, 1 and 0.5, falling
    top_block: str = ""  # as FPN's, and
    top_in_feature: str = ""
    norm: str = "LN"
    square_size: int = 0  # as FPN's; detectron2's square_pad
