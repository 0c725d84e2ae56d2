"""What a network is to its user: the names, shapes and dtypes of its inputs and outputs. One table by architecture."""

from collections.abc import Callable
from typing import Any

from d2deploy.artifact import MeshSpec, ModelSpec, PanopticDeepLabRule, PanopticRule, Preprocess, TensorSpec, Thresholds
from d2deploy.config import schema
from d2deploy.models.dense_pose.predictor import predictor_outputs

DETECTIONS = (
    TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),
    TensorSpec(name="scores", shape=("D",), dtype="float32"),
    TensorSpec(name="classes", shape=("D",), dtype="int64"),
    TensorSpec(name="image_index", shape=("D",), dtype="int64"),
)
# What mask_probs lie in where that is not `boxes`.
MASK_BOXES = TensorSpec(name="mask_boxes", shape=("D", 4), dtype="float32")
# Further inputs: boxes in pixels of the network's input, and how many of the P rows of each image are boxes.
PROPOSALS = (
    TensorSpec(name="proposal_boxes", shape=("N", "P", 4), dtype="float32"),
    TensorSpec(name="num_proposals", shape=("N",), dtype="int64"),
)


def model_spec(config: schema.ModelConfig, core: Any) -> ModelSpec:
    """Inputs, outputs, pre-processing and thresholds of the network; what its classes are called is not known here."""
    fields = {"num_classes": 0, **_fields(config, core)}
    detections = config.detections
    return ModelSpec(
        meta_architecture=config.meta_architecture,
        inputs=(*_image_inputs(config), *fields.pop("inputs", ())),
        preprocess=Preprocess(
            min_size=config.input.min_size,
            max_size=config.input.max_size,
            channel_order=config.input.channel_order,
            size_divisor=core.prepare.size_divisor if hasattr(core, "prepare") else core.size_divisor,
            pixel_mean=config.input.pixel_mean,
            pixel_std=config.input.pixel_std,
        ),
        thresholds=_thresholds(detections) if detections else None,
        class_names=(),
        **fields,
    )


def _fields(config: schema.ModelConfig, core: Any) -> dict[str, Any]:
    if isinstance(config.architecture, schema.RegisteredArchitecture):
        return {"num_classes": core.num_classes, "outputs": tuple(KNOWN_OUTPUTS[name] for name in core.outputs)}
    fields: dict[str, Any] = FIELDS[type(config.architecture)](config.architecture)
    return fields


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
    if isinstance(heads, schema.RegisteredROIHeads):
        return _registered_heads(heads)
    keypoint = heads.keypoint if isinstance(heads, schema.ROIHeads) else None
    dense_pose = heads.dense_pose if isinstance(heads, schema.ROIHeads) else None
    meshes = _meshes(dense_pose)
    return {
        "num_classes": heads.detections.num_classes,
        "outputs": (*_boxes(heads), *_mask(heads), *_keypoints(keypoint), *_dense_pose(dense_pose)),
        "meshes": tuple(MeshSpec(name=m.name, num_vertices=m.num_vertices, classes=m.classes) for m in meshes),
        "keypoint_sigmas": keypoint.oks_sigmas if keypoint else (),
        "inputs": PROPOSALS if isinstance(config.proposals, schema.PrecomputedProposals) else (),
    }


def _registered_heads(heads: schema.RegisteredROIHeads) -> dict[str, Any]:
    masks = TensorSpec(name="mask_probs", shape=("D", "M", "M"), dtype="float32")
    points = TensorSpec(name="keypoint_heatmaps", shape=("D", heads.num_keypoints, "S", "S"), dtype="float32")
    return {
        "num_classes": heads.detections.num_classes,
        "outputs": (*DETECTIONS, *((masks,) if heads.has_masks else ()), *((points,) if heads.num_keypoints else ())),
        "keypoint_sigmas": heads.oks_sigmas,
    }


def _boxes(heads: schema.ROIHeads | schema.Res5ROIHeads) -> tuple[TensorSpec, ...]:
    columns = len(heads.box.bbox_reg_weights) if isinstance(heads, schema.ROIHeads) else 4
    return (TensorSpec(name="boxes", shape=("D", columns), dtype="float32"), *DETECTIONS[1:])


def _mask(heads: schema.ROIHeads | schema.Res5ROIHeads) -> tuple[TensorSpec, ...]:
    if heads.mask is None:
        return ()
    # res5 halves what was pooled, the mask head doubles it.
    side = heads.pooler.resolution if isinstance(heads, schema.Res5ROIHeads) else heads.mask.side
    return (TensorSpec(name="mask_probs", shape=("D", side, side), dtype="float32"),)


def _keypoints(head: schema.KeypointHead | None) -> tuple[TensorSpec, ...]:
    if head is None:
        return ()
    side = head.pooler.resolution * 4
    return (TensorSpec(name="keypoint_heatmaps", shape=("D", head.num_keypoints, side, side), dtype="float32"),)


def _dense_pose(head: schema.DensePoseHead | None) -> tuple[TensorSpec, ...]:
    if head is None:
        return ()
    cells = {
        name: TensorSpec(name=name, shape=("D", channels, head.side, head.side), dtype="float32")
        for name, channels in predictor_outputs(head.predictor).items()
    }
    if not (meshes := _meshes(head)):
        return tuple(cells.values())
    shape = (sum(mesh.num_vertices for mesh in meshes), cells["embedding"].shape[1])
    return (*cells.values(), TensorSpec(name="vertex_embeddings", shape=shape, dtype="float32"))


def _meshes(head: schema.DensePoseHead | None) -> tuple[schema.Mesh, ...]:
    predictor = None if head is None else head.predictor
    return predictor.meshes if isinstance(predictor, schema.EmbeddingPredictor) else ()


def _proposal_network(config: schema.ProposalNetwork) -> dict[str, Any]:
    columns = len(config.proposals.bbox_reg_weights) if isinstance(config.proposals, schema.RPN) else 4
    return {
        "outputs": (
            TensorSpec(name="proposal_boxes", shape=("D", columns), dtype="float32"),
            TensorSpec(name="objectness_logits", shape=("D",), dtype="float32"),
            TensorSpec(name="image_index", shape=("D",), dtype="int64"),
        )
    }


def _dense(config: schema.RetinaNet | schema.FCOS) -> dict[str, Any]:
    return {"num_classes": config.detections.num_classes, "outputs": DETECTIONS}


def _tensor_mask(config: schema.TensorMask) -> dict[str, Any]:
    side = config.mask_side if config.windows else 0
    masks = TensorSpec(name="mask_probs", shape=("D", side, side), dtype="float32")
    outputs = (*DETECTIONS, masks, MASK_BOXES) if config.windows else DETECTIONS
    return {"num_classes": config.detections.num_classes, "outputs": outputs}


def _semantic(config: schema.SemanticSegmentor) -> dict[str, Any]:
    return {"outputs": (sem_seg_output(config.head.num_classes),)}


def sem_seg_output(num_classes: int) -> TensorSpec:
    """Logits of every pixel of the network's input as it pads it: at least as large as the images that are given."""
    return TensorSpec(name="sem_seg", shape=("N", num_classes, "H_padded", "W_padded"), dtype="float32")


def _panoptic_fpn(config: schema.PanopticFPN) -> dict[str, Any]:
    fields, rule = _rcnn(config.detector), config.combine
    return {
        **fields,
        "outputs": (*fields["outputs"], sem_seg_output(config.sem_seg.num_classes)),
        "panoptic": PanopticRule(
            overlap=rule.overlap_thresh, stuff_area=rule.stuff_area_thresh, instance_score=rule.instances_score_thresh
        ),
    }


def _panoptic_deeplab(config: schema.PanopticDeepLab) -> dict[str, Any]:
    sem_seg = sem_seg_output(config.sem_seg.num_classes)
    center, offset = (
        TensorSpec(name=name, shape=("N", channels, *sem_seg.shape[2:]), dtype="float32")
        for name, channels in (("center", 1), ("offset", 2))
    )
    return {
        "outputs": (sem_seg, center, offset),
        "num_classes": config.sem_seg.num_classes,  # things are counted as the channels of sem_seg
        "panoptic_deeplab": PanopticDeepLabRule(
            thing_ids=config.thing_ids,
            stuff_area=config.stuff_area,
            center_threshold=config.center_threshold,
            nms_kernel=config.nms_kernel,
            top_k=config.top_k,
            predict_instances=config.predict_instances,
        ),
    }


FIELDS: dict[type, Callable[[Any], dict[str, Any]]] = {
    schema.FCOS: _dense,
    schema.GeneralizedRCNN: _rcnn,
    schema.PanopticDeepLab: _panoptic_deeplab,
    schema.PanopticFPN: _panoptic_fpn,
    schema.ProposalNetwork: _proposal_network,
    schema.RetinaNet: _dense,
    schema.SemanticSegmentor: _semantic,
    schema.TensorMask: _tensor_mask,
}
"""Architecture -> the fields of ModelSpec that depend on it: outputs, num_classes, more inputs, rules."""

KNOWN_OUTPUTS = {
    tensor.name: tensor
    for tensor in (
        *DETECTIONS,
        TensorSpec(name="mask_probs", shape=("D", "M", "M"), dtype="float32"),
        MASK_BOXES,
        TensorSpec(name="keypoint_heatmaps", shape=("D", "K", "S", "S"), dtype="float32"),
        TensorSpec(name="sem_seg", shape=("N", "C", "H_padded", "W_padded"), dtype="float32"),
        TensorSpec(name="proposal_boxes", shape=("D", 4), dtype="float32"),
        TensorSpec(name="objectness_logits", shape=("D",), dtype="float32"),
    )
}
"""What a network of the user's own can say that it gives."""
