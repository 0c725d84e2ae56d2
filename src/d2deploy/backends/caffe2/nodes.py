"""Caffe2's own composite operators as single nodes of an exported graph: d2deploy::caffe2_*.

They have shapes but no kernels: a graph with them is written, never run by torch. `rois` are rows (number of the image,
x1, y1, x2, y2), as many as there are, the images in order: Caffe2's form of proposals and detections.
"""

import torch
from torch import Tensor

_SCHEMAS = {
    "caffe2_prepare": "(Tensor images, Tensor image_sizes, float[] mean, float[] std, int divisor) -> Tensor",
    "caffe2_proposals": "(Tensor[] logits, Tensor[] deltas, Tensor image_sizes, float[] cells, int[] strides, "
    "int pre_nms, int post_nms, float nms_threshold, float min_size) -> Tensor",
    "caffe2_pool": "(Tensor[] features, Tensor rois, float[] scales, int size, int sampling_ratio, bool aligned, "
    "int min_level, int max_level) -> Tensor",
    "caffe2_boxes": "(Tensor rois, Tensor deltas, Tensor image_sizes, float[] weights) -> (Tensor, Tensor)",
    "caffe2_detections": "(Tensor scores, Tensor boxes, Tensor splits, float score_threshold, float nms_threshold, "
    "int max_out, bool agnostic) -> (Tensor, Tensor, Tensor, Tensor)",
    "caffe2_dense": "(Tensor[] logits, Tensor[] deltas, Tensor image_sizes, float[] cells, int[] strides, "
    "float[] weights, int num_classes, int topk, float score_threshold, float nms_threshold, int max_out) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    "caffe2_rois": "(Tensor boxes, Tensor splits) -> Tensor",
}

for _name, _schema in _SCHEMAS.items():
    torch.library.define(f"d2deploy::{_name}", _schema)


@torch.library.register_fake("d2deploy::caffe2_prepare")
def _(images: Tensor, image_sizes: Tensor, *rule: int) -> Tensor:
    divisor = rule[-1]
    if divisor == 1:
        return torch.empty_like(images)
    context = torch.library.get_ctx()
    rows, columns = context.new_dynamic_size(min=1), context.new_dynamic_size(min=1)
    return images.new_empty([images.shape[0], images.shape[1], rows * divisor, columns * divisor])


@torch.library.register_fake("d2deploy::caffe2_proposals")
def _(logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor, *_: object) -> Tensor:
    return logits[0].new_empty([torch.library.get_ctx().new_dynamic_size(), 5])


@torch.library.register_fake("d2deploy::caffe2_pool")
def _(features: list[Tensor], rois: Tensor, scales: list[float], size: int, *_: object) -> Tensor:
    return features[0].new_empty([rois.shape[0], features[0].shape[1], size, size])


@torch.library.register_fake("d2deploy::caffe2_boxes")
def _(rois: Tensor, deltas: Tensor, image_sizes: Tensor, weights: list[float]) -> tuple[Tensor, Tensor]:
    return torch.empty_like(deltas), deltas.new_empty([image_sizes.shape[0]])


@torch.library.register_fake("d2deploy::caffe2_detections")
def _(scores: Tensor, boxes: Tensor, splits: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty([found, 4]), boxes.new_empty([found]), boxes.new_empty([found]), torch.empty_like(splits)


@torch.library.register_fake("d2deploy::caffe2_dense")
def _(logits: list[Tensor], deltas: list[Tensor], image_sizes: Tensor, *_: object) -> tuple[Tensor, ...]:
    found = torch.library.get_ctx().new_dynamic_size()
    first = logits[0]
    return first.new_empty([found, 4]), *(first.new_empty([found]) for _ in range(2)), first.new_empty(first.shape[:1])


@torch.library.register_fake("d2deploy::caffe2_rois")
def _(boxes: Tensor, splits: Tensor) -> Tensor:
    return boxes.new_empty([boxes.shape[0], 5])
