"""What a checkpoint's tensors say about the network that they come from: one row a fact.

Names are those of detectron2's modules (02b5c4e2); shapes are weight[out, in, ...].
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from d2deploy.config import schema
from d2deploy.config.schema import ModelConfig

Shapes = Mapping[str, tuple[int, ...]]
_BLOCKS: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_STAGES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that both a config and a checkpoint know; either function gives None where it does not."""

    name: str
    key: str  # of YAML configs
    of_config: Callable[[ModelConfig], Any]
    of_checkpoint: Callable[[Shapes], Any]


def contradictions(config: ModelConfig, shapes: Shapes) -> list[tuple[Fact, Any, Any]]:
    """The facts on which the two differ: (fact, the config's value, the checkpoint's)."""
    both = [(fact, fact.of_config(config), fact.of_checkpoint(shapes)) for fact in FACTS]
    return [(fact, ours, theirs) for fact, ours, theirs in both if None not in (ours, theirs) and ours != theirs]


def _resnet(config: ModelConfig) -> schema.ResNet | None:
    backbone = config.backbone
    inner = backbone.bottom_up if isinstance(backbone, schema.FPN) else backbone
    return inner if isinstance(inner, schema.ResNet) else None


def _detector(config: ModelConfig) -> schema.GeneralizedRCNN | None:
    network = config.architecture
    if isinstance(network, schema.PanopticFPN):
        network = network.detector
    return network if isinstance(network, schema.GeneralizedRCNN) else None


def _of_resnet(get: Callable[[schema.ResNet], Any]) -> Callable[[ModelConfig], Any]:
    def value(config: ModelConfig) -> Any:
        resnet = _resnet(config)
        return None if resnet is None else get(resnet)

    return value


def _of_heads(get: Callable[[Any], Any]) -> Callable[[ModelConfig], Any]:
    def value(config: ModelConfig) -> Any:
        detector = _detector(config)
        return None if detector is None else get(detector.roi_heads)

    return value


def _is_standard(heads: Any) -> bool:
    return isinstance(heads, schema.ROIHeads | schema.Res5ROIHeads)


def _has(shapes: Shapes, pattern: str) -> bool:
    return any(re.match(pattern, name) for name in shapes)


def _size(shapes: Shapes, pattern: str, axis: int) -> int | None:
    return next((shape[axis] for name, shape in shapes.items() if re.fullmatch(pattern, name)), None)


def _meta_architecture(shapes: Shapes) -> str | None:
    heads = (
        (r"ins_embed_head\.", "PanopticDeepLab"),
        (r"roi_heads\.", "PanopticFPN" if _has(shapes, r"sem_seg_head\.") else "GeneralizedRCNN"),
        (r"sem_seg_head\.", "SemanticSegmentor"),
        (r"proposal_generator\.", "ProposalNetwork"),
        (r"head\.ctrness", "FCOS"),
        (r"head\.(cls_score|bbox_pred)", "RetinaNet"),
    )
    return next((name for pattern, name in heads if _has(shapes, pattern)), None)


def _depth(shapes: Shapes) -> int | None:
    """The depth of a whole ResNet; None for part of one, or another network."""
    counts = tuple(
        len({m[1] for name in shapes if (m := re.match(rf"(?:.*\.)?{stage}\.(\d+)\.conv1\.weight", name))})
        for stage in _STAGES
    )
    depth = _BLOCKS.get(counts)
    if counts == (3, 4, 6, 3) and not _has(shapes, r"(.*\.)?res2\.0\.conv3\."):
        return 34
    return depth


def _groups(shapes: Shapes) -> int | None:
    outputs, inputs = (_size(shapes, r"(.*\.)?res3\.0\.conv2\.weight", axis) for axis in (0, 1))
    return outputs // inputs if outputs and inputs else None


def _deform(shapes: Shapes) -> tuple[bool, ...] | None:
    if _depth(shapes) is None:
        return None
    return tuple(_has(shapes, rf"(.*\.)?{stage}\.0\.conv2_offset\.") for stage in _STAGES)


def _roi_heads(shapes: Shapes) -> str | None:
    if not _has(shapes, r"roi_heads\."):
        return None
    if _has(shapes, r"roi_heads\.res5\."):
        return "Res5ROIHeads"
    return "CascadeROIHeads" if _has(shapes, r"roi_heads\.box_predictor\.0\.") else "StandardROIHeads"


def _roi_heads_name(heads: Any) -> str | None:
    if isinstance(heads, schema.Res5ROIHeads):
        return "Res5ROIHeads"
    if isinstance(heads, schema.ROIHeads):
        return "CascadeROIHeads" if heads.cascade else "StandardROIHeads"
    return None


def _classes(shapes: Shapes) -> int | None:
    with_background = _size(shapes, r"roi_heads\.box_predictor\.(\d+\.)?cls_score\.weight", 0)
    return None if with_background is None else with_background - 1


def _dense_classes(shapes: Shapes) -> int | None:
    scores, deltas = (_size(shapes, rf"head\.{name}\.weight", 0) for name in ("cls_score", "bbox_pred"))
    return None if scores is None or deltas is None else scores * 4 // deltas


def _has_head(kind: str) -> Callable[[Shapes], bool | None]:
    return lambda shapes: _has(shapes, rf"roi_heads\.{kind}_head\.") if _has(shapes, r"roi_heads\.") else None


FACTS = (
    Fact(
        name="meta-architecture",
        key="MODEL.META_ARCHITECTURE",
        of_config=lambda config: config.meta_architecture,
        of_checkpoint=_meta_architecture,
    ),
    Fact(
        name="depth of the ResNet",
        key="MODEL.RESNETS.DEPTH",
        # C4 models have res5 in the RoI heads, and the count is over all four
        of_config=_of_resnet(lambda resnet: resnet.depth),
        of_checkpoint=_depth,
    ),
    Fact(
        name="groups of the ResNet's convolutions",
        key="MODEL.RESNETS.NUM_GROUPS",
        of_config=_of_resnet(lambda resnet: resnet.num_groups),
        of_checkpoint=_groups,
    ),
    Fact(
        name="stages with deformable convolutions",
        key="MODEL.RESNETS.DEFORM_ON_PER_STAGE",
        of_config=_of_resnet(lambda resnet: tuple(resnet.deform_on_per_stage)),
        of_checkpoint=_deform,
    ),
    Fact(
        name="RoI heads",
        key="MODEL.ROI_HEADS.NAME",
        of_config=_of_heads(_roi_heads_name),
        of_checkpoint=_roi_heads,
    ),
    Fact(
        name="number of classes",
        key="MODEL.ROI_HEADS.NUM_CLASSES",
        of_config=_of_heads(lambda heads: heads.detections.num_classes),
        of_checkpoint=_classes,
    ),
    Fact(
        name="number of classes",
        key="MODEL.RETINANET.NUM_CLASSES",
        of_config=lambda c: c.detections.num_classes if c.detections and not _detector(c) else None,
        of_checkpoint=_dense_classes,
    ),
    Fact(
        name="mask head",
        key="MODEL.MASK_ON",
        of_config=_of_heads(lambda heads: heads.mask is not None if _is_standard(heads) else None),
        of_checkpoint=_has_head("mask"),
    ),
    Fact(
        name="keypoint head",
        key="MODEL.KEYPOINT_ON",
        of_config=_of_heads(lambda heads: heads.keypoint is not None if isinstance(heads, schema.ROIHeads) else None),
        of_checkpoint=_has_head("keypoint"),
    ),
    Fact(
        name="DensePose head",
        key="MODEL.DENSEPOSE_ON",
        of_config=_of_heads(lambda heads: heads.dense_pose is not None if isinstance(heads, schema.ROIHeads) else None),
        of_checkpoint=_has_head("densepose"),
    ),
    Fact(
        name="number of keypoints",
        key="MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS",
        of_config=_of_heads(lambda heads: getattr(getattr(heads, "keypoint", None), "num_keypoints", None)),
        of_checkpoint=lambda shapes: _size(shapes, r"roi_heads\.keypoint_head\.score_lowres\.weight", 1),
    ),
    Fact(
        name="number of semantic classes",
        key="MODEL.SEM_SEG_HEAD.NUM_CLASSES",
        of_config=lambda c: (
            getattr(getattr(c.architecture, "sem_seg", None), "num_classes", None)
            or getattr(getattr(c.architecture, "head", None), "num_classes", None)
        ),
        of_checkpoint=lambda shapes: _size(shapes, r"sem_seg_head\.predictor\.weight", 0),
    ),
)
