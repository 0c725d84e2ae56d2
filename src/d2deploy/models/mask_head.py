"""Mask head: pooled features of a detection to its mask."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.conv import Conv2d
from d2deploy.models.pooler import BoxLevels, ROIPooler
from d2deploy.models.registered import ShapeSpec, make_part
from d2deploy.registry import ROI_MASK_HEAD_REGISTRY


class MaskRCNNConvUpsampleHead(nn.Module):
    """mask_fcn1.., an upsampling convolution, a predictor of one channel a class (or one for all)."""

    composite = "MaskRCNNConvUpsampleHead"  # what a format that has operators for the whole part knows it by

    def __init__(self, config: schema.MaskHead, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = in_channels
        *dims, last = config.conv_dims
        convs = [f"mask_fcn{i}" for i in range(1, len(dims) + 1)]
        for name, dim in zip(convs, dims, strict=True):
            self.add_module(name, Conv2d(channels, dim, kernel_size=3, norm=config.norm, relu=True))
            channels = dim
        self.deconv = nn.ConvTranspose2d(channels, last, kernel_size=2, stride=2)
        self.predictor = nn.Conv2d(last, 1 if config.cls_agnostic_mask else num_classes, kernel_size=1)
        self.is_agnostic = config.cls_agnostic_mask
        self.convs = Alias(self, convs)

    def forward(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """pooled[D,C,S,S], classes[D] int64 -> probabilities of each detection's own class [D,2S,2S].

        Only that class's channel is computed: all of them would be 80 (LVIS: 1203) times as many numbers.
        """
        x = pooled
        for conv in self.convs:
            x = conv(x)
        x = nn.functional.relu_(self.deconv(x))
        channel = classes * 0 if self.is_agnostic else classes
        weight = self.predictor.weight.flatten(1)[channel][:, None]
        bias = self.predictor.bias
        assert bias is not None
        logits = weight @ x.flatten(2) + bias[channel][:, None, None]
        return logits.reshape(-1, x.shape[2], x.shape[3]).sigmoid()


def mask_branch(config: schema.MaskHead, levels: BoxLevels, num_classes: int) -> tuple[nn.Module, nn.Module]:
    """The pooler on `levels`, and the head on what it pools."""
    head = MaskRCNNConvUpsampleHead(config, in_channels=levels.channels, num_classes=num_classes)
    return ROIPooler(config.pooler, strides=levels.strides), head


def registered_mask_branch(
    config: schema.RegisteredMaskHead, levels: BoxLevels, num_classes: int
) -> tuple[nn.Module, nn.Module]:
    """The same for a user's own head."""
    side = config.pooler.resolution
    head = make_part(ROI_MASK_HEAD_REGISTRY, config.part, ShapeSpec(channels=levels.channels, height=side, width=side))
    return ROIPooler(config.pooler, strides=levels.strides), head
