"""d2deploy's ops as single nodes of a graph: d2deploy::nms and its like. A format lowers each in its own way.

A node has its op's arguments. Those that a user may want to change when the model runs, NMS's thresholds, are tensors.
"""

import torch
from torch import Tensor

from d2deploy.ops.crop import crop
from d2deploy.ops.deform_sample import deform_sample
from d2deploy.ops.least_size import pad_to_least
from d2deploy.ops.nms import nms, nms_of_labelled
from d2deploy.ops.point_sample import point_sample
from d2deploy.ops.position import relative_bias
from d2deploy.ops.prepare_images import pad_to_multiple
from d2deploy.ops.roi_align import roi_align
from d2deploy.ops.roi_align_rotated import roi_align_rotated
from d2deploy.ops.roi_pool import roi_pool


@torch.library.custom_op("d2deploy::nms", mutates_args=())
def nms_node(boxes: Tensor, scores: Tensor, iou_threshold: Tensor, max_out: int) -> Tensor:
    """See ops/nms.py."""
    return nms(boxes, scores, float(iou_threshold), max_out)


@nms_node.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: Tensor, max_out: int) -> Tensor:
    return scores.new_empty([scores.shape[0], max_out], dtype=torch.int64)


@torch.library.custom_op("d2deploy::labelled_nms", mutates_args=())
def labelled_nms_node(
    boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: Tensor, *, max_out: int, num_classes: int
) -> Tensor:
    """See ops/labelled_nms.py."""
    return nms_of_labelled(boxes, scores, classes, iou_threshold=float(iou_threshold), max_out=max_out)


@labelled_nms_node.register_fake
def _(
    boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: Tensor, *, max_out: int, num_classes: int
) -> Tensor:
    return scores.new_empty([scores.shape[0], max_out], dtype=torch.int64)


@torch.library.custom_op("d2deploy::roi_align", mutates_args=())
def roi_align_node(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """See ops/roi_align.py."""
    return roi_align(features, boxes, image_index, levels, scales, size, sampling_ratio, aligned).contiguous()


@roi_align_node.register_fake
def _(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return features[0].new_empty([boxes.shape[0], features[0].shape[1], size, size])


@torch.library.custom_op("d2deploy::roi_align_rotated", mutates_args=())
def roi_align_rotated_node(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
) -> Tensor:
    """See ops/roi_align_rotated.py."""
    return roi_align_rotated(features, boxes, image_index, levels, scales, size, sampling_ratio).contiguous()


@roi_align_rotated_node.register_fake
def _(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
) -> Tensor:
    return features[0].new_empty([boxes.shape[0], features[0].shape[1], size, size])


@torch.library.custom_op("d2deploy::roi_pool", mutates_args=())
def roi_pool_node(
    features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor, scales: list[float], size: int
) -> Tensor:
    """See ops/roi_pool.py."""
    return roi_pool(features, boxes, image_index, levels, scales, size).contiguous()


@roi_pool_node.register_fake
def _(
    features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor, scales: list[float], size: int
) -> Tensor:
    return features[0].new_empty([boxes.shape[0], features[0].shape[1], size, size])


@torch.library.custom_op("d2deploy::point_sample", mutates_args=())
def point_sample_node(features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
    """See ops/point_sample.py."""
    return point_sample(features, points, image_index)


@point_sample_node.register_fake
def _(features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
    return features.new_empty([points.shape[0], points.shape[1], features.shape[1]])


@torch.library.custom_op("d2deploy::deform_sample", mutates_args=())
def deform_sample_node(
    x: Tensor, offset: Tensor, *, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> Tensor:
    """See ops/deform_sample.py."""
    return deform_sample(x, offset, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


@deform_sample_node.register_fake
def _(x: Tensor, offset: Tensor, *, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> Tensor:
    return x.new_empty([x.shape[0], offset.shape[2] * offset.shape[3], kernel * kernel, x.shape[1]])


@torch.library.custom_op("d2deploy::relative_bias", mutates_args=())
def relative_bias_node(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, *, more_queries: bool) -> Tensor:
    """See ops/position.py."""
    return relative_bias(q, k, rows, columns, more_queries=more_queries)


@relative_bias_node.register_fake
def _(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, *, more_queries: bool) -> Tensor:
    return q.new_empty([q.shape[0], q.shape[1] * q.shape[2], k.shape[1] * k.shape[2]])


@torch.library.custom_op("d2deploy::pad_to_multiple", mutates_args=())
def pad_to_multiple_node(images: Tensor, divisor: int) -> Tensor:
    """See ops/prepare_images.py."""
    return pad_to_multiple(images, divisor).clone()


@pad_to_multiple_node.register_fake
def _(images: Tensor, divisor: int) -> Tensor:
    # Height and width become `divisor` times unknown numbers: all that the pyramid's halving and doubling needs to
    # know about them, so H and W themselves stay free.
    context = torch.library.get_ctx()
    rows, columns = context.new_dynamic_size(min=1), context.new_dynamic_size(min=1)
    return images.new_empty([images.shape[0], images.shape[1], rows * divisor, columns * divisor])


@torch.library.custom_op("d2deploy::crop", mutates_args=())
def crop_node(x: Tensor, like: Tensor, factor: int) -> Tensor:
    """See ops/crop.py."""
    return crop(x, like, factor).clone()


@crop_node.register_fake
def _(x: Tensor, like: Tensor, factor: int) -> Tensor:
    # Of a slice torch.export would ask whether x is larger, and keep the sample's answer.
    return x.new_empty([x.shape[0], x.shape[1], like.shape[2] * factor, like.shape[3] * factor])


@torch.library.custom_op("d2deploy::pad_to_least", mutates_args=())
def pad_to_least_node(images: Tensor, least: int) -> Tensor:
    """See ops/least_size.py."""
    return pad_to_least(images, least).clone()


@pad_to_least_node.register_fake
def _(images: Tensor, least: int) -> Tensor:
    # Unknown numbers rather than the larger of two: every size in the network after it stays a short formula.
    context = torch.library.get_ctx()
    rows, columns = context.new_dynamic_size(min=least), context.new_dynamic_size(min=least)
    return images.new_empty([images.shape[0], images.shape[1], rows, columns])
