"""Which result a network's outputs make: one table."""

from collections.abc import Callable
from typing import NamedTuple

from d2deploy.artifact import ModelSpec
from d2deploy.postprocess.finished import (
    finished_instances,
    finished_panoptic,
    finished_proposals,
    finished_semantic,
)
from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.postprocess.instances import to_instances, to_proposals
from d2deploy.postprocess.padded import ragged_names
from d2deploy.postprocess.panoptic import merge
from d2deploy.postprocess.panoptic_deeplab import to_panoptic_deeplab
from d2deploy.postprocess.sem_seg import to_semantic
from d2deploy.results import Instances, PanopticResult, Proposals, Result, SemanticResult


class Kind(NamedTuple):
    """One kind of network, by what comes out of it."""

    outputs: tuple[str, ...]  # that must be there; others may be, too
    make: Callable[[Outputs, ModelSpec, Frame], Result]
    rule: str = ""  # the field of ModelSpec that must be there


def _panoptic(outputs: Outputs, spec: ModelSpec, frame: Frame) -> PanopticResult:
    assert spec.panoptic is not None
    instances, semantic = _instances(outputs, spec, frame), to_semantic(outputs, frame)
    picture, segments = merge(instances, semantic.labels, spec.panoptic)
    return PanopticResult(
        image_size=frame.image_size,
        panoptic_seg=picture,
        segments=segments,
        sem_seg=semantic,
        instances=instances,
    )


def _panoptic_deeplab(outputs: Outputs, spec: ModelSpec, frame: Frame) -> PanopticResult:
    assert spec.panoptic_deeplab is not None
    return to_panoptic_deeplab(outputs, spec.panoptic_deeplab, frame)


def _instances(outputs: Outputs, spec: ModelSpec, frame: Frame) -> Instances:
    return to_instances(
        outputs,
        input_size=frame.input_size,
        image_size=frame.image_size,
        image_index=frame.index,
        meshes=spec.meshes,
    )


def _proposals(outputs: Outputs, spec: ModelSpec, frame: Frame) -> Proposals:
    return to_proposals(outputs, frame)


def _semantic(outputs: Outputs, spec: ModelSpec, frame: Frame) -> SemanticResult:
    return to_semantic(outputs, frame)


_DETECTIONS = ("boxes", "scores", "classes", "image_index")
_PROPOSALS = ("proposal_boxes", "objectness_logits", "image_index")
KINDS = (
    Kind((*_DETECTIONS, "mask_probs", "sem_seg"), _panoptic, rule="panoptic"),
    Kind(_DETECTIONS, _instances),
    Kind(_PROPOSALS, _proposals),
    Kind(("sem_seg", "center", "offset"), _panoptic_deeplab, rule="panoptic_deeplab"),
    Kind(("sem_seg",), _semantic),
)
"""Read from the top: the first whose outputs and rule are there. What needs more stands above what needs less."""

FINISHED = (
    Kind((*_DETECTIONS, "sem_seg", "labels", "panoptic_seg", "segments"), finished_panoptic),
    Kind(_DETECTIONS, finished_instances),
    Kind(_PROPOSALS, finished_proposals),
    Kind(("sem_seg", "labels"), finished_semantic),
)
"""The same for a graph that holds the post-processing itself."""


def find_kind(spec: ModelSpec) -> Kind | None:
    """The kind of network that `spec` describes; None: none that is known here."""
    names = ragged_names({tensor.name for tensor in spec.outputs})
    kinds = FINISHED if spec.includes_postprocess else KINDS
    fitting = (kind for kind in kinds if names.issuperset(kind.outputs))
    return next((kind for kind in fitting if not kind.rule or getattr(spec, kind.rule) is not None), None)


def to_result(outputs: Outputs, spec: ModelSpec, frame: Frame) -> Result:
    """What the network says, in the ragged form, about one image of a batch.

    Raises ValueError: outputs that make no result.
    """
    kind = find_kind(spec)
    if kind is None:
        raise ValueError(f"no result can be made of {', '.join(outputs)}")
    return kind.make(outputs, spec, frame)
