"""Multiscale vision transformer, version 2: keys and values are pooled, and queries where a stage begins."""

import dataclasses

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.transformer import Mlp, PatchEmbed, position_table
from d2deploy.ops.position import AbsolutePosition, RelativeBias
from d2deploy.ops.windows import WindowMerge, WindowPartition


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What distinguishes a block. `window` and `side` count cells before this block's pooling."""

    in_channels: int
    out_channels: int
    num_heads: int
    stride_q: int
    stride_kv: int
    window: int  # cells a side; 0: attention over the whole map
    side: int  # of the square map that the tables of relative positions were made for


def plans(config: schema.MViT) -> list[Plan]:
    """One a block (detectron2 mvit.py). What a stage's last block doubles or halves, its successors have."""
    last = config.last_block_indexes
    before = after = config.embed_dim
    heads, stride_kv, window = config.num_heads, config.adaptive_kv_stride, config.adaptive_window_size
    side = config.img_size // config.patch_stride[0]
    found = []
    for index in range(config.depth):
        begins = index - 1 in last
        plan = Plan(
            in_channels=before,
            out_channels=after,
            num_heads=heads,
            stride_q=2 if begins else 1,
            stride_kv=stride_kv * 2 if index in last[1:3] else stride_kv,
            window=0 if index in last[1:] else window,
            side=side,
        )
        found.append(plan)
        before = after
        if index in last:
            after, heads, stride_kv = after * 2, heads * 2, max(stride_kv // 2, 1)
        if begins:
            window, side = window // 2, side // 2
    return found


class MultiScaleAttention(nn.Module):
    """Attention of pooled queries to pooled keys, within windows or over the whole map."""

    def __init__(self, config: schema.MViT, plan: Plan) -> None:
        super().__init__()
        self.num_heads = plan.num_heads
        channels = plan.out_channels // plan.num_heads
        self.qkv = nn.Linear(plan.in_channels, 3 * plan.out_channels, bias=config.qkv_bias)
        self.proj = nn.Linear(plan.out_channels, plan.out_channels)
        self.pool_q = _pool(channels, config.qkv_pool_kernel, plan.stride_q)
        self.norm_q = nn.LayerNorm(channels, eps=config.norm_eps)
        self.pool_k = _pool(channels, config.qkv_pool_kernel, plan.stride_kv)
        self.norm_k = nn.LayerNorm(channels, eps=config.norm_eps)
        self.pool_v = _pool(channels, config.qkv_pool_kernel, plan.stride_kv)
        self.norm_v = nn.LayerNorm(channels, eps=config.norm_eps)
        self.relative_bias: RelativeBias | None = None
        if config.use_rel_pos:
            longer = plan.side // min(plan.stride_q, plan.stride_kv)
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * longer - 1, channels))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * longer - 1, channels))
            self.relative_bias = RelativeBias(more_queries=plan.stride_q <= plan.stride_kv)
        self.partition_q = WindowPartition(plan.window // plan.stride_q) if plan.window else None
        self.partition_kv = WindowPartition(plan.window // plan.stride_kv) if plan.window else None
        self.merge = WindowMerge() if plan.window else None
        self.residual_pooling = config.residual_pooling

    def forward(self, x: Tensor) -> Tensor:
        """x[N,H,W,C] -> [N,H/stride_q,W/stride_q,out_channels]."""
        qkv = self.qkv(x).unflatten(3, [3, self.num_heads, -1]).permute(3, 0, 4, 1, 2, 5)
        q, k, v = qkv.flatten(1, 2).unbind(0)  # [N*heads,H,W,C/heads] each, as what follows
        q = self.norm_q(self.pool_q(q.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        k = self.norm_k(self.pool_k(k.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        v = self.norm_v(self.pool_v(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        out = self.attend(q, k, v)
        if self.residual_pooling:
            out = out + q
        return self.proj(out.unflatten(0, [-1, self.num_heads]).permute(0, 2, 3, 1, 4).flatten(3))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q[M,Hq,Wq,C], k and v[M,Hk,Wk,C] -> the shape of q."""
        whole = q
        if self.partition_q is not None and self.partition_kv is not None:
            q, k, v = self.partition_q(q), self.partition_kv(k), self.partition_kv(v)
        bias: Tensor | None = None
        if self.relative_bias is not None:
            bias = self.relative_bias(q, k, self.rel_pos_h, self.rel_pos_w).unsqueeze(1)
        heads = [part.reshape(q.shape[0], 1, part.shape[1] * part.shape[2], part.shape[3]) for part in (q, k, v)]
        out = nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=bias).reshape_as(q)
        if self.merge is not None:
            out = self.merge(out, whole)
        return out


def _pool(channels: int, kernel: tuple[int, int], stride: int) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False)


class MultiScaleBlock(nn.Module):
    """Attention, then an MLP; where a stage begins, the shortcut has a projection and a pooling too."""

    def __init__(self, config: schema.MViT, plan: Plan) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(plan.in_channels, eps=config.norm_eps)
        self.attn = MultiScaleAttention(config, plan)
        self.norm2 = nn.LayerNorm(plan.out_channels, eps=config.norm_eps)
        self.mlp = Mlp(plan.out_channels, int(plan.out_channels * config.mlp_ratio))
        widens = plan.in_channels != plan.out_channels
        self.proj = nn.Linear(plan.in_channels, plan.out_channels) if widens else None
        self.pool_skip = nn.MaxPool2d(3, stride=2, padding=1) if plan.stride_q == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """x[N,H,W,C] -> [N,H/stride_q,W/stride_q,out_channels]."""
        normed = self.norm1(x)
        if self.proj is not None:
            x = self.proj(normed)
        if self.pool_skip is not None:
            x = self.pool_skip(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.attn(normed)
        return x + self.mlp(self.norm2(x))


class MViT(nn.Module):
    """The backbone; gives the last map of each stage in `out_features`, with a norm of its own."""

    def __init__(self, config: schema.MViT, *, in_channels: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(
            in_channels,
            config.embed_dim,
            kernel=config.patch_kernel,
            stride=config.patch_stride,
            padding=config.patch_padding,
        )
        self.pos_embed: nn.Parameter | None = None
        if config.use_abs_pos:
            self.pos_embed = position_table(
                config.pretrain_img_size,
                config.patch_stride,
                cls_token=config.pretrain_use_cls_token,
                channels=config.embed_dim,
            )
        self.side = config.pretrain_img_size // config.patch_stride[0]
        self.skipped = int(config.pretrain_use_cls_token)
        self.position = AbsolutePosition()
        every = plans(config)
        self.blocks = nn.ModuleList(MultiScaleBlock(config, plan) for plan in every)
        self.ends: list[int] = []  # blocks whose maps are given
        self.names: list[str] = []
        self.out_channels: dict[str, int] = {}
        self.out_strides: dict[str, int] = {}
        for stage, index in enumerate(sorted(config.last_block_indexes)):
            name, channels = f"scale{stage + 2}", every[index].out_channels
            if name in config.out_features:
                self.add_module(f"{name}_norm", nn.LayerNorm(channels, eps=config.norm_eps))
                self.ends.append(index)
                self.names.append(name)
                self.out_channels[name], self.out_strides[name] = channels, config.patch_stride[0] * 2**stage
        self.norms = Alias(self, [f"{name}_norm" for name in self.names])
        self.size_divisor, self.square_size = 1, 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {"scale2": [N,C,H/4,W/4], "scale3": [N,2*C,H/8,W/8], ...}, rounded up."""
        x = self.patch_embed(images)
        if self.pos_embed is not None:
            table = self.pos_embed[:, self.skipped :].unflatten(1, [self.side, self.side])
            x = x + self.position(table.permute(0, 3, 1, 2), x)
        maps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        features: dict[str, Tensor] = {}
        for i, norm in enumerate(self.norms):
            features[self.names[i]] = norm(maps[i]).permute(0, 3, 1, 2)
        return features
