"""The multiscale vision transformer, version 2."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MViT:
    """Arguments and defaults of detectron2's MViT (modeling/backbone/mvit.py), without those of training alone."""

    img_size: int = 224  # gives the size of the tables of relative positions
    patch_kernel: tuple[int, int] = (7, 7)
    patch_stride: tuple[int, int] = (4, 4)
    patch_padding: tuple[int, int] = (3, 3)
    embed_dim: int = 96  # of the first stage; each stage doubles it, and the heads
    depth: int = 16
    num_heads: int = 1
    last_block_indexes: tuple[int, ...] = (0, 2, 11, 15)  # of each stage
    qkv_pool_kernel: tuple[int, int] = (3, 3)
    adaptive_kv_stride: int = 4  # of the first stage; each stage halves it
    adaptive_window_size: int = 56  # patches a side in the first stage; each stage halves it
    residual_pooling: bool = True
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-5  # of norm_layer, which is LayerNorm; the official configs give 1e-6
    use_abs_pos: bool = False
    use_rel_pos: bool = True
    pretrain_img_size: int = 224  # gives the size of the table of absolute positions
    pretrain_use_cls_token: bool = True  # that table has one row more, which is not used
    out_features: tuple[str, ...] = ("scale2", "scale3", "scale4", "scale5")
