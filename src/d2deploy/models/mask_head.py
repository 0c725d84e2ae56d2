"""Mask head: pooled features of a detection to its mask."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.conv import Conv2d


class MaskRCNNConvUpsampleHead(nn.Sequential):
    """mask_fcn1.., an upsampling convolution, a predictor of one channel a class (or one for all)."""

    def __init__(self, config: schema.MaskHead, *, in_channels: int, num_classes: int) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for i in range(1, config.num_conv + 1):
            layers[f"mask_fcn{i}"] = Conv2d(channels, config.conv_dim, kernel_size=3, norm=config.norm, relu=True)
            channels = config.conv_dim
        layers["deconv"] = nn.ConvTranspose2d(channels, config.conv_dim, kernel_size=2, stride=2)
        layers["deconv_relu"] = nn.ReLU()
        mask_classes = 1 if config.cls_agnostic_mask else num_classes
        layers["predictor"] = nn.Conv2d(config.conv_dim, mask_classes, kernel_size=1)
        super().__init__(layers)


def select_masks(logits: Tensor, classes: Tensor) -> Tensor:
    """Each detection's probabilities: logits[D,K or 1,M,M], classes[D] int64 -> [D,M,M]."""
    if logits.shape[1] == 1:
        return logits[:, 0].sigmoid()
    index = classes[:, None, None, None].expand(-1, -1, logits.shape[2], logits.shape[3])
    return torch.gather(logits, 1, index)[:, 0].sigmoid()
