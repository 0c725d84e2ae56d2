"""Feature pyramid on a bottom-up backbone: p2..p5, and p6 by subsampling p5."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.resnet import ResNet


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
        self.last_name = f"p{levels[-1] + 1}"
        self.out_channels = {f"p{level}": config.out_channels for level in [*levels, levels[-1] + 1]}
        self.out_strides = {f"p{level}": 2**level for level in [*levels, levels[-1] + 1]}
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
        features[self.last_name] = nn.functional.max_pool2d(features[self.level_names[0]], kernel_size=1, stride=2)
        return features
