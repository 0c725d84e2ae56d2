"""Caffe2's own composite operators as single nodes of an exported graph: d2deploy::caffe2_*.

They have shapes but no kernels: a graph with them is written, never run by torch. `rois` are rows (number of the image,
x1, y1, x2, y2), or (number, center x, center y, width, height, degrees) where boxes are rotated; as many as there are,
the images in order: Caffe2's form of proposals and detections. `splits`: how many rows each image has.
"""

import torch
from torch import Tensor

_SCHEMAS = {
    "caffe2_prepare": "(Tensor images, Tensor image_sizes, float[] mean, float[] std, int divisor, int square) -> "
    "Tensor",
    "caffe2_proposals": "(Tensor[] logits, Tensor[] deltas, Tensor image_sizes, float[] cells, int[] strides, "
    "int pre_nms, int post_nms, float nms_threshold, float min_size) -> (Tensor, Tensor, Tensor)",
    "caffe2_rotated_proposals": "(Tensor[] logits, Tensor[] deltas, Tensor image_sizes, float[] cells, int[] strides, "
    "float[] weights, int pre_nms, int post_nms, float nms_threshold, float min_size) -> (Tensor, Tensor, Tensor)",
    "caffe2_given": "(Tensor boxes, Tensor counts, int topk) -> Tensor",
    "caffe2_pool": "(Tensor[] features, Tensor rois, str kind, float[] scales, int size, int sampling_ratio, "
    "bool aligned, int min_level, int max_level) -> Tensor",
    "caffe2_boxes": "(Tensor rois, Tensor deltas, Tensor image_sizes, float[] weights) -> (Tensor, Tensor)",
    "caffe2_rotated_boxes": "(Tensor rois, Tensor deltas, Tensor image_sizes, float[] weights) -> (Tensor, Tensor)",
    "caffe2_detections": "(Tensor scores, Tensor boxes, Tensor splits, float score_threshold, float nms_threshold, "
    "int max_out, bool agnostic, bool rotated) -> (Tensor, Tensor, Tensor, Tensor)",
    "caffe2_dense": "(Tensor[] scores, Tensor[] deltas, Tensor image_sizes, float[] cells, int[] strides, "
    "float[] weights, int num_classes, int topk, float score_threshold, float nms_threshold, int max_out) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    "caffe2_rois": "(Tensor boxes, Tensor splits) -> Tensor",
    "caffe2_deform": "(Tensor x, Tensor offset, Tensor? mask, int kernel, int stride, int padding, int dilation, "
    "int groups, int weight_groups) -> Tensor",
    "caffe2_window_mean": "(Tensor x, int rows, int columns) -> Tensor",
}

for _name, _schema in _SCHEMAS.items():
    torch.library.define(f"d2deploy::{_name}", _schema)


def _some(low: int = 0) -> torch.SymInt:
    """A size that nobody knows before the net runs."""
    return torch.library.get_ctx().new_dynamic_size(min=low)


@torch.library.register_fake("d2deploy::caffe2_prepare")
def _(images: Tensor, image_sizes: Tensor, *rule: int) -> Tensor:
    divisor, square = rule[-2:]
    if square:
        return images.new_empty([images.shape[0], images.shape[1], square, square])
    if divisor == 1:
        return torch.empty_like(images)
    return images.new_empty([images.shape[0], images.shape[1], _some(1) * divisor, _some(1) * divisor])


def _proposals(logits: list[Tensor], columns: int) -> tuple[Tensor, Tensor, Tensor]:
    count, first = _some(), logits[0]
    return first.new_empty([count, columns]), first.new_empty([count]), first.new_empty([first.shape[0]])


@torch.library.register_fake("d2deploy::caffe2_proposals")
def _(logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor, *_: object) -> tuple[Tensor, ...]:
    return _proposals(logits, 5)


@torch.library.register_fake("d2deploy::caffe2_rotated_proposals")
def _(logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor, *_: object) -> tuple[Tensor, ...]:
    return _proposals(logits, 6)


@torch.library.register_fake("d2deploy::caffe2_given")
def _(boxes: Tensor, counts: Tensor, topk: int) -> Tensor:
    return boxes.new_empty([_some(), 5])


@torch.library.register_fake("d2deploy::caffe2_pool")
def _(features: list[Tensor], rois: Tensor, *rule: int) -> Tensor:
    size = rule[2]
    return features[0].new_empty([rois.shape[0], features[0].shape[1], size, size])


@torch.library.register_fake("d2deploy::caffe2_boxes")
@torch.library.register_fake("d2deploy::caffe2_rotated_boxes")
def _(rois: Tensor, deltas: Tensor, image_sizes: Tensor, weights: list[float]) -> tuple[Tensor, Tensor]:
    return torch.empty_like(deltas), deltas.new_empty([image_sizes.shape[0]])


@torch.library.register_fake("d2deploy::caffe2_detections")
def _(scores: Tensor, boxes: Tensor, splits: Tensor, *rule: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found, columns = _some(), 5 if rule[-1] else 4
    first = boxes.new_empty([found, columns])
    return first, boxes.new_empty([found]), boxes.new_empty([found]), torch.empty_like(splits)


@torch.library.register_fake("d2deploy::caffe2_dense")
def _(scores: list[Tensor], deltas: list[Tensor], image_sizes: Tensor, *_: object) -> tuple[Tensor, ...]:
    found, first = _some(), scores[0]
    return first.new_empty([found, 4]), *(first.new_empty([found]) for _ in range(2)), first.new_empty(first.shape[:1])


@torch.library.register_fake("d2deploy::caffe2_rois")
def _(boxes: Tensor, splits: Tensor) -> Tensor:
    return boxes.new_empty([boxes.shape[0], boxes.shape[1] + 1])


@torch.library.register_fake("d2deploy::caffe2_deform")
def _(x: Tensor, offset: Tensor, mask: Tensor | None, kernel: int, *_: int) -> Tensor:
    return x.new_empty([x.shape[0], offset.shape[2], offset.shape[3], kernel * kernel * x.shape[1]])


@torch.library.register_fake("d2deploy::caffe2_window_mean")
def _(x: Tensor, rows: int, columns: int) -> Tensor:
    return x.new_empty([x.shape[0], x.shape[1], _some(1), _some(1)])
