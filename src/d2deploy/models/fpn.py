"""Feature pyramid on a bottom-up backbone: p2..p5, and p6 by subsampling p5."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.resnet import ResNet


class LastLevelMaxPool(nn.Module):
    """One level more: every second cell of the last."""

    num_levels = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()

    def forward(self, last: Tensor, stage: Tensor) -> list[Tensor]:
        """last[N,C,H,W], the last level, and the backbone's last stage (unused) -> [N,C,H/2,W/2]."""
        return [nn.functional.max_pool2d(last, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """Two levels more, by convolutions of stride 2 on the backbone's last stage (RetinaNet)."""

    num_levels = 2

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=2, padding=1)

    def forward(self, last: Tensor, stage: Tensor) -> list[Tensor]:
        """stage[N,C,H,W], the backbone's last -> [N,out,H/2,W/2] and [N,out,H/4,W/4]; `last` is unused."""
        p6 = self.p6(stage)
        return [p6, self.p7(nn.functional.relu(p6))]


TOP_BLOCKS: dict[str, type[LastLevelMaxPool] | type[LastLevelP6P7]] = {
    "maxpool": LastLevelMaxPool,
    "p6p7": LastLevelP6P7,
}


class FPN(nn.Module):
    """Levels are named by their stride: p2 has one cell every 4 input pixels (FPN paper; detectron2 fpn.py)."""

    def __init__(self, config: schema.FPN, bottom_up: ResNet) -> None:
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
        top = TOP_BLOCKS[config.top_block](bottom_up.out_channels[self.in_features[-1]], config.out_channels)
        self.top_block: nn.Module = top
        self.top_names = [f"p{levels[-1] + 1 + i}" for i in range(top.num_levels)]
        every = range(levels[0], levels[-1] + 1 + top.num_levels)
        self.out_channels = {f"p{level}": config.out_channels for level in every}
        self.out_strides = {f"p{level}": 2**level for level in every}
        self.size_divisor = strides[-1]

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
        for i, level in enumerate(self.top_block(features[self.level_names[0]], stages[0])):
            features[self.top_names[i]] = level
        return features
