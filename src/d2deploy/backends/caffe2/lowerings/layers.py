"""Layers with weights, pooling, norms, resizing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from d2deploy.backends.caffe2.place import Blob, CannotLower, Place

aten = torch.ops.aten


def _pair(value: "int | Sequence[int]") -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))


def conv2d(
    place: Place,
    x: Blob,
    weight: Blob,
    bias: Blob | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    """Conv. A bias may be absent."""
    weights = [weight] if bias is None else [weight, bias]
    return place.emit(
        "Conv",
        x,
        *weights,
        kernels=list(map(int, weight.like.shape[2:])),
        strides=_pair(stride),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
        group=groups,
        order="NCHW",
    )


def conv_transpose2d(
    place: Place,
    x: Blob,
    weight: Blob,
    bias: Blob | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> str:
    """ConvTranspose. Its own `adjs` are torch's output padding."""
    if _pair(dilation) != [1, 1]:
        raise CannotLower("a transposed convolution with dilation")
    weights = [weight] if bias is None else [weight, bias]
    return place.emit(
        "ConvTranspose",
        x,
        *weights,
        kernels=list(map(int, weight.like.shape[2:])),
        strides=_pair(stride),
        pads=_pair(padding) * 2,
        adjs=_pair(output_padding),
        group=groups,
        order="NCHW",
    )


def linear(place: Place, x: Blob, weight: Blob, bias: Blob | None = None) -> str:
    """FC on the last axis. It wants a bias."""
    if bias is None:
        bias_name = place.constant(np.zeros(weight.like.shape[0]), "no_bias")
        return place.emit("FC", x, weight, bias_name, axis=x.rank - 1)
    return place.emit("FC", x, weight, bias, axis=x.rank - 1)


def max_pool2d(
    place: Place,
    x: Blob,
    kernel: Any,
    stride: Any = (),
    *,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> str:
    """MaxPool."""
    if ceil_mode or _pair(dilation) != [1, 1]:
        raise CannotLower("max pooling with ceil_mode or dilation")
    return place.emit(
        "MaxPool",
        x,
        kernels=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=_pair(padding) * 2,
        order="NCHW",
    )


def avg_pool2d(
    place: Place,
    x: Blob,
    kernel: Any,
    stride: Any = (),
    *,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    """AveragePool."""
    if ceil_mode or divisor_override is not None:
        raise CannotLower("average pooling with ceil_mode or a divisor of its own")
    return place.emit(
        "AveragePool",
        x,
        kernels=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=_pair(padding) * 2,
        count_include_pad=int(count_include_pad),
        order="NCHW",
    )


def adaptive_avg_pool2d(place: Place, x: Blob, size: Sequence[int]) -> str:
    """To one cell only: the mean over height and width."""
    if list(size) != [1, 1]:
        raise CannotLower(f"adaptive average pooling to {list(size)}")
    return place.emit("ReduceMean", x, axes=[2, 3], keepdims=1)


def group_norm(
    place: Place,
    x: Blob,
    groups: int,
    weight: Blob | None = None,
    *,
    bias: Blob | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> str:
    """GroupNorm: its argument for the number of groups is `group`, whatever the operator's own text says.

    Of what is left when each group's mean is taken away, for the same reason as layer_norm: of a group that is nearly
    one number it even gives NaN.
    """
    channels = int(x.like.shape[1])
    gamma = weight or place.constant(np.ones(channels), "ones")
    beta = bias or place.constant(np.zeros(channels), "zeros")
    mean = place.emit("ReduceMean", x, part="mean", axes=list(range(2, x.rank)), keepdims=1)
    if (members := channels // groups) > 1:
        of_group = place.reshape(mean, [-1, groups, members], "by_group")
        group_mean = place.emit("ReduceMean", of_group, part="group_mean", axes=[2], keepdims=1)
        each = place.emit("Tile", group_mean, part="each", tiles=members, axis=2)
        mean = place.reshape(each, [-1, channels, *[1] * (x.rank - 2)], "mean_of")
    centred = place.emit("Sub", x, mean, part="centred")
    return place.emit("GroupNorm", centred, gamma, beta, group=groups, epsilon=float(eps), order="NCHW", is_test=1)


def layer_norm(
    place: Place,
    x: Blob,
    shape: Sequence[int],
    weight: Blob | None = None,
    *,
    bias: Blob | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> str:
    """LayerNorm, of what is left when the mean is taken away: it takes the mean's square from that of the numbers,

    which leaves few digits where the mean is large. Its further outputs are mean and deviation.
    """
    gamma = weight or place.constant(np.ones(shape), "ones")
    beta = bias or place.constant(np.zeros(shape), "zeros")
    axes = list(range(x.rank - len(shape), x.rank))
    mean = place.emit("ReduceMean", x, part="mean", axes=axes, keepdims=1)
    centred = place.emit("Sub", x, mean, part="centred")
    outputs = [place.name, place.part("rest_of_mean"), place.part("deviation")]
    return place.emit_many(
        "LayerNorm", centred, gamma, beta, outputs=outputs, axis=axes[0], epsilon=float(eps), elementwise_affine=1
    )[0]


def batch_norm(
    place: Place,
    x: Blob,
    weight: Blob | None,
    bias: Blob | None,
    *,
    running_mean: Blob,
    running_var: Blob,
    training: bool,
    eps: float,
    **_: Any,
) -> str:
    """Where it could not be multiplied into a convolution."""
    if training:
        raise CannotLower("a batch norm in training mode")
    channels = running_mean.like.shape[0]
    gamma = weight or place.constant(np.ones(channels), "ones")
    beta = bias or place.constant(np.zeros(channels), "zeros")
    return place.emit(
        "SpatialBN", x, gamma, beta, running_mean, running_var, is_test=1, epsilon=float(eps), order="NCHW"
    )


LAYERS: dict[Any, Callable[..., Any]] = {
    aten.conv2d.default: conv2d,
    aten.conv_transpose2d.input: conv_transpose2d,
    aten.linear.default: linear,
    aten.max_pool2d.default: max_pool2d,
    aten.avg_pool2d.default: avg_pool2d,
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.group_norm.default: group_norm,
    aten.batch_norm.default: batch_norm,
    aten.layer_norm.default: layer_norm,
}
