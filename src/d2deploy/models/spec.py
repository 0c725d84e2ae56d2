"""What a network is to its user: the names, shapes and dtypes of its inputs and outputs. One table by architecture."""

from collections.abc import Callable
from typing import Any

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec, Thresholds
from d2deploy.config import schema

DETECTIONS = (
    TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),
    TensorSpec(name="scores", shape=("D",), dtype="float32"),
    TensorSpec(name="classes", shape=("D",), dtype="int64"),
    TensorSpec(name="image_index", shape=("D",), dtype="int64"),
)


def model_spec(
    config: schema.ModelConfig, core: Any, class_names: tuple[str, ...], sem_seg_names: tuple[str, ...] = ()
) -> ModelSpec:
    """Inputs, outputs, pre-processing and thresholds of the network. Names may be empty: nobody knows them."""
    fields = {"num_classes": 0, **FIELDS[type(config.architecture)](config.architecture)}
    detections = config.detections
    return ModelSpec(
        meta_architecture=config.meta_architecture,
        inputs=(*_image_inputs(config), *fields.pop("inputs", ())),
        preprocess=Preprocess(
            min_size=config.input.min_size,
            max_size=config.input.max_size,
            channel_order=config.input.channel_order,
            size_divisor=core.prepare.size_divisor,
            pixel_mean=config.input.pixel_mean,
            pixel_std=config.input.pixel_std,
        ),
        thresholds=detections and _thresholds(detections),
        class_names=class_names,
        sem_seg_names=sem_seg_names,
        **fields,
    )


def _image_inputs(config: schema.ModelConfig) -> tuple[TensorSpec, TensorSpec]:
    return (
        TensorSpec(name="images", shape=("N", len(config.input.pixel_mean), "H", "W"), dtype="float32"),
        TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
    )


def _thresholds(detections: schema.Detections) -> Thresholds:
    return Thresholds(
        score=detections.score_thresh, nms=detections.nms_thresh, max_detections=detections.detections_per_image
    )


def _rcnn(config: schema.GeneralizedRCNN) -> dict[str, Any]:
    heads = config.roi_heads
    keypoint = heads.keypoint if isinstance(heads, schema.ROIHeads) else None
    return {
        "num_classes": heads.detections.num_classes,
        "outputs": (*_boxes(heads), *_mask(heads), *_keypoints(keypoint)),
        "keypoint_sigmas": keypoint.oks_sigmas if keypoint else (),
    }


def _boxes(heads: schema.ROIHeads | schema.Res5ROIHeads) -> tuple[TensorSpec, ...]:
    columns = len(heads.box.bbox_reg_weights) if isinstance(heads, schema.ROIHeads) else 4
    return (TensorSpec(name="boxes", shape=("D", columns), dtype="float32"), *DETECTIONS[1:])


def _mask(heads: schema.ROIHeads | schema.Res5ROIHeads) -> tuple[TensorSpec, ...]:
    if heads.mask is None:
        return ()
    # res5 halves what was pooled, the mask head doubles it.
    side = heads.pooler.resolution if isinstance(heads, schema.Res5ROIHeads) else heads.mask.pooler.resolution * 2
    return (TensorSpec(name="mask_probs", shape=("D", side, side), dtype="float32"),)


def _keypoints(head: schema.KeypointHead | None) -> tuple[TensorSpec, ...]:
    if head is None:
        return ()
    side = head.pooler.resolution * 4
    return (TensorSpec(name="keypoint_heatmaps", shape=("D", head.num_keypoints, side, side), dtype="float32"),)


def _retinanet(config: schema.RetinaNet) -> dict[str, Any]:
    return {"num_classes": config.detections.num_classes, "outputs": DETECTIONS}


FIELDS: dict[type, Callable[[Any], dict[str, Any]]] = {
    schema.GeneralizedRCNN: _rcnn,
    schema.RetinaNet: _retinanet,
}
"""Architecture -> the fields of ModelSpec that depend on it: outputs, num_classes, more inputs, rules."""
