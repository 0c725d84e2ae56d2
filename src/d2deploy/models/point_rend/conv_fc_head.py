"""The first layers of a mask head: what lies under a box, to one vector."""

from collections import OrderedDict
from math import prod

from torch import nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError


class ConvFCHead(nn.Sequential):
    """Fewer channels, half the resolution, then fully connected layers (detectron2 point_rend/mask_head.py)."""

    def __init__(self, config: schema.ConvFCHead, *, in_channels: int, out_shape: tuple[int, ...]) -> None:
        if in_channels < config.conv_dim:
            raise ConfigError(
                f"MODEL.ROI_MASK_HEAD.CONV_DIM is {config.conv_dim}, and {', '.join(config.in_features)} have "
                f"{in_channels} channels. This mask head needs at least as many: choose a smaller CONV_DIM."
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if in_channels > config.conv_dim:
            layers["reduce_channel_dim_conv"] = nn.Conv2d(in_channels, config.conv_dim, kernel_size=1)
            layers["channel_relu"] = nn.ReLU()
        layers["reduce_spatial_dim_conv"] = nn.Conv2d(config.conv_dim, config.conv_dim, kernel_size=2, stride=2)
        layers["spatial_relu"] = nn.ReLU()
        layers["flatten"] = nn.Flatten()
        size = config.conv_dim * (config.resolution // 2) ** 2
        for i, dim in enumerate(config.fc_dims, start=1):
            layers[f"fc{i}"] = nn.Linear(size, dim)
            layers[f"fc_relu{i}"] = nn.ReLU()
            size = dim
        layers["prediction"] = nn.Linear(size, prod(out_shape))
        layers["shape"] = nn.Unflatten(1, out_shape)
        super().__init__(layers)
