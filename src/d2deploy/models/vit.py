"""The plain vision transformer of ViTDet: one map, of stride 16, from beginning to end.

Most blocks attend within windows, a few over the whole map.
"""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.norm import LayerNorm
from d2deploy.models.transformer import Mlp, PatchEmbed, position_table
from d2deploy.ops.position import AbsolutePosition, RelativeBias
from d2deploy.ops.windows import WindowMerge, WindowPartition


class Attention(nn.Module):
    """Attention of each cell of a map to each; `side`: of the map that the relative positions were made for."""

    def __init__(self, channels: int, *, num_heads: int, qkv_bias: bool, side: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.relative_bias: RelativeBias | None = None
        if side is not None:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, channels // num_heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, channels // num_heads))
            self.relative_bias = RelativeBias()

    def forward(self, x: Tensor) -> Tensor:
        """x[M,H,W,C] -> the same shape."""
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, [3, self.num_heads, -1])
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [M,heads,H*W,C/heads] each
        bias: Tensor | None = None
        if self.relative_bias is not None:
            q_MHWC = q.flatten(0, 1).unflatten(1, [x.shape[1], x.shape[2]])
            bias = self.relative_bias(q_MHWC, x, self.rel_pos_h, self.rel_pos_w).unflatten(0, [-1, self.num_heads])
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape_as(x))


class ResBottleneckBlock(nn.Module):
    """Three convolutions on a map channels first; their layer norms are beside them, not in them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        mid = channels // 2
        self.conv1 = nn.Conv2d(channels, mid, 1, bias=False)
        self.norm1 = LayerNorm(mid)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(mid, mid, 3, padding=1, bias=False)
        self.norm2 = LayerNorm(mid)
        self.act2 = nn.GELU()
        self.conv3 = nn.Conv2d(mid, channels, 1, bias=False)
        self.norm3 = LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        out = self.act1(self.norm1(self.conv1(x)))
        out = self.act2(self.norm2(self.conv2(out)))
        return x + self.norm3(self.conv3(out))


class Block(nn.Module):
    """Attention, within windows or not, then an MLP; in some models a convolutional block after them."""

    def __init__(self, config: schema.ViT, index: int) -> None:
        super().__init__()
        channels = config.embed_dim
        window = config.window_size if index in config.window_block_indexes else 0
        side = window or config.img_size // config.patch_size
        self.norm1 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.attn = Attention(
            channels,
            num_heads=config.num_heads,
            qkv_bias=config.qkv_bias,
            side=side if config.use_rel_pos else None,
        )
        self.norm2 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))
        self.partition = WindowPartition(window) if window else None
        self.merge = WindowMerge()
        self.residual = ResBottleneckBlock(channels) if index in config.residual_block_indexes else None

    def forward(self, x: Tensor) -> Tensor:
        """x[N,H,W,C] -> the same shape."""
        hidden = self.norm1(x)
        if self.partition is not None:
            hidden = self.merge(self.attn(self.partition(hidden)), x)
        else:
            hidden = self.attn(hidden)
        x = x + hidden
        x = x + self.mlp(self.norm2(x))
        if self.residual is not None:
            x = self.residual(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x


class ViT(nn.Module):
    """The backbone; gives the last block's map."""

    def __init__(self, config: schema.ViT, *, in_channels: int) -> None:
        super().__init__()
        patch = (config.patch_size, config.patch_size)
        self.patch_embed = PatchEmbed(in_channels, config.embed_dim, kernel=patch, stride=patch)
        self.pos_embed: nn.Parameter | None = None
        if config.use_abs_pos:
            self.pos_embed = position_table(
                config.pretrain_img_size, patch, cls_token=config.pretrain_use_cls_token, channels=config.embed_dim
            )
        self.side, self.skipped = config.pretrain_img_size // config.patch_size, int(config.pretrain_use_cls_token)
        self.position = AbsolutePosition()
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.depth))
        self.out_feature = config.out_feature
        self.out_channels = {config.out_feature: config.embed_dim}
        self.out_strides = {config.out_feature: config.patch_size}
        self.size_divisor, self.square_size = 1, 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {out_feature: [N,C,H/16,W/16]}."""
        x = self.patch_embed(images)
        if self.pos_embed is not None:
            table = self.pos_embed[:, self.skipped :].unflatten(1, [self.side, self.side])
            x = x + self.position(table.permute(0, 3, 1, 2), x)
        for block in self.blocks:
            x = block(x)
        return {self.out_feature: x.permute(0, 3, 1, 2)}
