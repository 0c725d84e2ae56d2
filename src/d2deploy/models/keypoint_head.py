"""Keypoint head: pooled features of a detection to a heatmap for each keypoint."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.registered import ShapeSpec, make_part
from d2deploy.registry import ROI_KEYPOINT_HEAD_REGISTRY


class KRCNNConvDeconvUpsampleHead(nn.Module):
    """conv_fcn1.., a transposed convolution to twice the size, bilinear to twice that (detectron2 keypoint_head.py)."""

    def __init__(self, config: schema.KeypointHead, *, in_channels: int) -> None:
        super().__init__()
        channels = in_channels
        names = [f"conv_fcn{i}" for i in range(1, len(config.conv_dims) + 1)]
        for name, dim in zip(names, config.conv_dims, strict=True):
            self.add_module(name, Conv2d(channels, dim, kernel_size=3, relu=True))
            channels = dim
        self.score_lowres = nn.ConvTranspose2d(channels, config.num_keypoints, kernel_size=4, stride=2, padding=1)
        self.convs = Alias(self, names)

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled[D,C,S,S] -> logits[D,K,4S,4S]."""
        x = pooled
        for conv in self.convs:
            x = conv(x)
        x = self.score_lowres(x)
        return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def build_keypoint_head(config: schema.KeypointHead, *, in_channels: int) -> nn.Module:
    """The keypoint head of `config`, the user's own if it names one."""
    if config.part is None:
        return KRCNNConvDeconvUpsampleHead(config, in_channels=in_channels)
    side = config.pooler.resolution
    shape = ShapeSpec(channels=in_channels, height=side, width=side)
    part: nn.Module = make_part(ROI_KEYPOINT_HEAD_REGISTRY, config.part, shape)
    return part
