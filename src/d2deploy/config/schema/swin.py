"""The Swin transformer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SwinTransformer:
    """Arguments and defaults of detectron2's SwinTransformer (backbone/swin.py), without those of training alone."""

    pretrain_img_size: int = 224  # gives the size of the table of absolute positions
    patch_size: int = 4
    embed_dim: int = 96  # of the first stage; each stage doubles it
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks a stage
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None  # None (or 0): 1 / sqrt(channels of a head)
    norm_eps: float = 1e-5  # of norm_layer, which is LayerNorm
    ape: bool = False  # absolute positions
    patch_norm: bool = True
    out_indices: tuple[int, ...] = (0, 1, 2, 3)  # stages given, as p0, p1, ...
