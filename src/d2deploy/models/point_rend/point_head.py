"""Point heads: what is known of a point, to its class scores.

R boxes or images, P points, C channels, K classes. What is known of a point comes in parts, [R,P,C] each, which side by
side are a layer's input; they are never copied together.
"""

import math

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.point_rend.points import MapPoints


def product(parts: list[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """parts of [R,P,Ci] side by side, times weight[sum of Ci,K], plus bias[K] -> [R,P,K]."""
    begin = parts[0].shape[2]
    out = torch.addmm(bias, parts[0].flatten(0, 1), weight[:begin])
    for part in parts[1:]:
        end = begin + part.shape[2]
        out.addmm_(part.flatten(0, 1), weight[begin:end])
        begin = end
    return out.reshape(-1, parts[0].shape[1], weight.shape[1])


def own_product(parts: list[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """The same with weights of its own for each row: weight[R,sum of Ci,K], bias[R,1,K]."""
    begin = parts[0].shape[2]
    out = torch.baddbmm(bias, parts[0], weight[:, :begin])
    for part in parts[1:]:
        end = begin + part.shape[2]
        out.baddbmm_(part, weight[:, begin:end])
        begin = end
    return out


class PointLayer(nn.Module):
    """A fully connected layer on points, whose weight has the shape of a convolution's as in detectron2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, parts: list[Tensor]) -> Tensor:
        """[R,P,Ci] of each part -> [R,P,out_channels]."""
        return product(parts, self.weight[:, :, 0].t(), self.bias)


class StandardPointHead(nn.Module):
    """Layers on the features at a point and on the coarse prediction there (detectron2 point_rend/point_head.py)."""

    def __init__(self, config: schema.StandardPointHead, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.sees_coarse_always = config.coarse_pred_each_layer
        names = [f"fc{i}" for i in range(1, len(config.fc_dims) + 1)]
        channels = in_channels + num_classes
        for name, dim in zip(names, config.fc_dims, strict=True):
            self.add_module(name, PointLayer(channels, dim))
            channels = dim + (num_classes if config.coarse_pred_each_layer else 0)
        self.predictor = PointLayer(channels, 1 if config.cls_agnostic_mask else num_classes)
        self.is_agnostic = config.cls_agnostic_mask
        self.layers = Alias(self, names)
        self.coarse_at = MapPoints()

    def forward(self, features: list[Tensor], points: Tensor, coarse: Tensor, classes: Tensor) -> Tensor:
        """features at points[R,P,2], coarse[R,K,S,S] logits, classes[R] int64 -> logits[R,P] of those classes alone."""
        channel = classes * 0 if self.is_agnostic else classes
        weight, bias = self.predictor.weight[channel], self.predictor.bias[channel]
        return own_product(self.hidden(features, points, coarse), weight, bias[:, None, None])[:, :, 0]

    def every_class(self, features: list[Tensor], points: Tensor, coarse: Tensor) -> Tensor:
        """features at points[R,P,2], coarse[R,K,H,W] logits -> logits[R,P,K]."""
        logits: Tensor = self.predictor(self.hidden(features, points, coarse))
        return logits

    def hidden(self, features: list[Tensor], points: Tensor, coarse: Tensor) -> list[Tensor]:
        """What the predictor sees, in parts."""
        there = self.coarse_at(coarse, points)
        parts = features + [there]
        for layer in self.layers:
            x = nn.functional.relu_(layer(parts))
            parts = [x, there] if self.sees_coarse_always else [x]
        return parts


class ImplicitPointHead(nn.Module):
    """Layers on the features at a point and on its place, with weights that come with the box (Cheng et al. 2022).

    detectron2 point_rend/point_head.py. A box's parameters are the weights of all layers, then their biases.
    """

    def __init__(self, config: schema.ImplicitPointHead, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.sees_features = config.image_feature_enabled
        first = (in_channels if config.image_feature_enabled else 0) + (256 if config.pos_enc_enabled else 0)
        self.num_classes = 1 if config.cls_agnostic_mask else num_classes
        dims = [first, *config.fc_dims, self.num_classes]
        self.ins, self.outs = dims[:-1], dims[1:]
        self.num_params = sum((before + 1) * after for before, after in zip(self.ins, self.outs, strict=True))
        self.positional_encoding_gaussian_matrix: Tensor | None
        matrix = torch.zeros(2, 128) if config.pos_enc_enabled else None
        self.register_buffer("positional_encoding_gaussian_matrix", matrix)

    def forward(self, features: list[Tensor], points: Tensor, parameters: Tensor, classes: Tensor) -> Tensor:
        """features at points[R,P,2], parameters[R,num_params], classes[R] int64 -> logits[R,P] of those classes."""
        parts: list[Tensor] = []
        matrix = self.positional_encoding_gaussian_matrix
        if matrix is not None:
            waves = 2 * math.pi * ((2 * points - 1) @ matrix)
            parts += [waves.sin(), waves.cos()]
        if self.sees_features:
            parts += features
        channel = classes[:, None, None] * (0 if self.num_classes == 1 else 1)
        weight_at, bias_at = 0, self.num_params - sum(self.outs)
        x = points
        for i, (before, after) in enumerate(zip(self.ins, self.outs)):
            weight = parameters[:, weight_at : weight_at + before * after].reshape(-1, after, before)
            bias = parameters[:, bias_at : bias_at + after].reshape(-1, after, 1)
            weight_at, bias_at = weight_at + before * after, bias_at + after
            is_last = i == len(self.outs) - 1
            if is_last:
                weight, bias = weight.gather(1, channel.expand(-1, 1, before)), bias.gather(1, channel)
            x = own_product(parts, weight.transpose(1, 2), bias.transpose(1, 2))
            parts = [x if is_last else x.relu_()]
        return x[:, :, 0]
