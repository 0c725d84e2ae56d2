"""Feature pyramid on a bottom-up backbone: p2..p5, and p6 by subsampling p5."""

from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d


class LastLevelMaxPool(nn.Module):
    """One level more: every second cell of the last."""

    num_levels = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()

    def forward(self, last: Tensor) -> list[Tensor]:
        """last[N,C,H,W] -> [N,C,H/2,W/2]."""
        return [nn.functional.max_pool2d(last, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """Two levels more, by convolutions of stride 2 (RetinaNet, FCOS)."""

    num_levels = 2

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=2, padding=1)

    def forward(self, last: Tensor) -> list[Tensor]:
        """last[N,C,H,W] -> [N,out,H/2,W/2] and [N,out,H/4,W/4]."""
        p6 = self.p6(last)
        return [p6, self.p7(nn.functional.relu(p6))]


TOP_BLOCKS: dict[str, type[LastLevelMaxPool] | type[LastLevelP6P7]] = {
    "maxpool": LastLevelMaxPool,
    "p6p7": LastLevelP6P7,
}


class FPN(nn.Module):
    """Levels are named by their stride: p2 has one cell every 4 input pixels (FPN paper; detectron2 fpn.py)."""

    def __init__(self, config: schema.FPN, bottom_up: Any) -> None:
        super().__init__()
        self.bottom_up = bottom_up
        self.in_features = list(config.in_features)
        self.is_average = config.fuse_type == "avg"
        strides = [bottom_up.out_strides[name] for name in self.in_features]
        levels = [stride.bit_length() - 1 for stride in strides]
        for name, level in zip(self.in_features, levels, strict=True):
            lateral = Conv2d(bottom_up.out_channels[name], config.out_channels, kernel_size=1, norm=config.norm)
            output = Conv2d(config.out_channels, config.out_channels, kernel_size=3, norm=config.norm)
            self.add_module(f"fpn_lateral{level}", lateral)
            self.add_module(f"fpn_output{level}", output)
        self.laterals = Alias(self, [f"fpn_lateral{level}" for level in reversed(levels)])
        self.outputs = Alias(self, [f"fpn_output{level}" for level in reversed(levels)])
        self.level_names = [f"p{level}" for level in reversed(levels)]
        self.top_in_feature = config.top_in_feature or f"p{levels[-1]}"
        self.top_block: nn.Module | None = None
        self.top_names: list[str] = []
        if config.top_block:
            every = {f"p{levels[-1]}": config.out_channels, **bottom_up.out_channels}
            top = TOP_BLOCKS[config.top_block](every[self.top_in_feature], config.out_channels)
            self.top_block = top
            self.top_names = [f"p{levels[-1] + 1 + i}" for i in range(top.num_levels)]
        last = levels[-1] + len(self.top_names)
        self.out_channels = {f"p{level}": config.out_channels for level in range(levels[0], last + 1)}
        self.out_strides = {f"p{level}": 2**level for level in range(levels[0], last + 1)}
        self.size_divisor = strides[-1]
        self.square_size = config.square_size

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W], H and W multiples of `size_divisor` -> {level: [N,C,H/stride,W/stride]}."""
        bottom_up = self.bottom_up(images)
        stages = [bottom_up[name] for name in self.in_features][::-1]
        features: dict[str, Tensor] = {}
        merged = stages[0]
        for i, (lateral, output) in enumerate(zip(self.laterals, self.outputs)):
            side = lateral(stages[i])
            if i > 0:
                merged = side + nn.functional.interpolate(merged, scale_factor=2.0, mode="nearest")
                if self.is_average:
                    merged = merged / 2
            else:
                merged = side
            features[self.level_names[i]] = output(merged)
        if self.top_block is not None:
            name = self.top_in_feature
            for i, level in enumerate(self.top_block(bottom_up[name] if name in bottom_up else features[name])):
                features[self.top_names[i]] = level
        return features
