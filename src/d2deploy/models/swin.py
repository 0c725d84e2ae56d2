"""Swin transformer: attention within windows, which every second block shifts by half their size."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.transformer import Mlp
from d2deploy.ops.position import AbsolutePosition, WindowBias
from d2deploy.ops.windows import PadToWindows, Quarter, ShiftedWindowMask, WindowMerge, WindowPartition


class PatchEmbed(nn.Module):
    """The first layer: zeros up to whole patches, a convolution of them, a norm."""

    def __init__(self, config: schema.SwinTransformer, in_channels: int) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(in_channels, config.embed_dim, kernel_size=size, stride=size)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps) if config.patch_norm else None
        self.pad = PadToWindows(size)

    def forward(self, images: Tensor) -> Tensor:
        """images[N,3,H,W] -> [N,H/size,W/size,C], rounded up."""
        x = self.proj(self.pad(images)).permute(0, 2, 3, 1)
        if self.norm is not None:
            x = self.norm(x)
        return x


class WindowAttention(nn.Module):
    """Attention within each window, with a learnt bias for each difference of two cells."""

    def __init__(self, config: schema.SwinTransformer, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = config.qk_scale or (channels // num_heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * config.window_size - 1) ** 2, num_heads))
        self.qkv = nn.Linear(channels, 3 * channels, bias=config.qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.bias = WindowBias(config.window_size)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x[M,S,S,C], mask[M,S*S,S*S] to add to every head's attention -> the shape of x."""
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, [3, self.num_heads, -1])
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [M,heads,S*S,C/heads] each
        bias = self.bias(self.relative_position_bias_table).unsqueeze(0)
        if mask is not None:
            bias = bias + mask.unsqueeze(1)
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
        return self.proj(out.transpose(1, 2).reshape_as(x))


class Block(nn.Module):
    """Attention within windows, shifted or not, then an MLP."""

    def __init__(self, config: schema.SwinTransformer, channels: int, num_heads: int, *, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.attn = WindowAttention(config, channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))
        self.partition, self.merge = WindowPartition(config.window_size, shift), WindowMerge(shift)
        self.is_shifted = shift > 0

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x[N,H,W,C], mask as ShiftedWindowMask gives it -> the shape of x."""
        windows = self.attn(self.partition(self.norm1(x)), mask if self.is_shifted else None)
        x = x + self.merge(windows, x)
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """A map of half the size and twice the channels: each cell of four, side by side."""

    def __init__(self, channels: int, norm_eps: float) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels, eps=norm_eps)
        self.quarter = Quarter()

    def forward(self, x: Tensor) -> Tensor:
        """x[N,H,W,C] -> [N,H/2,W/2,2*C], rounded up."""
        return self.reduction(self.norm(self.quarter(x)))


class Stage(nn.Module):
    """Blocks on maps of one size, and what brings the map to the size of the next stage."""

    def __init__(self, config: schema.SwinTransformer, index: int) -> None:
        super().__init__()
        channels, shift = config.embed_dim * 2**index, config.window_size // 2
        self.blocks = nn.ModuleList(
            Block(config, channels, config.num_heads[index], shift=shift * (i % 2)) for i in range(config.depths[index])
        )
        is_last = index == len(config.depths) - 1
        self.downsample = None if is_last else PatchMerging(channels, config.norm_eps)
        self.mask = ShiftedWindowMask(config.window_size, shift) if len(self.blocks) > 1 else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x[N,H,W,C] -> this stage's map, of the same shape, and the next one's first."""
        mask = self.mask(x) if self.mask is not None else None
        for block in self.blocks:
            x = block(x, mask)
        if self.downsample is not None:
            return x, self.downsample(x)
        return x, x


class SwinTransformer(nn.Module):
    """The backbone; gives the maps of the stages in `out_indices`, each with a norm of its own."""

    def __init__(self, config: schema.SwinTransformer, *, in_channels: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config, in_channels)
        self.absolute_pos_embed: nn.Parameter | None = None
        if config.ape:
            side = config.pretrain_img_size // config.patch_size
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, config.embed_dim, side, side))
        self.position = AbsolutePosition()
        self.layers = nn.ModuleList(Stage(config, index) for index in range(len(config.depths)))
        self.out_indices = sorted(config.out_indices)
        self.out_channels: dict[str, int] = {}
        self.out_strides: dict[str, int] = {}
        for index in self.out_indices:
            channels = config.embed_dim * 2**index
            self.add_module(f"norm{index}", nn.LayerNorm(channels, eps=config.norm_eps))
            self.out_channels[f"p{index}"], self.out_strides[f"p{index}"] = channels, 4 * 2**index
        self.norms = Alias(self, [f"norm{index}" for index in self.out_indices])
        self.size_divisor, self.square_size = 1, 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {"p0": [N,C,H/4,W/4], "p1": [N,2*C,H/8,W/8], ...}, rounded up."""
        x = self.patch_embed(images)
        if self.absolute_pos_embed is not None:
            x = x + self.position(self.absolute_pos_embed, x)
        maps: list[Tensor] = []
        for stage in self.layers:
            done, x = stage(x)
            maps.append(done)
        features: dict[str, Tensor] = {}
        for i, norm in enumerate(self.norms):
            index = self.out_indices[i]
            features[f"p{index}"] = norm(maps[index]).permute(0, 3, 1, 2)
        return features
