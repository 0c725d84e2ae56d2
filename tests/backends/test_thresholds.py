"""Thresholds as inputs of a graph: what it finds is what the network finds that has them built in."""

import copy
import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import Artifact, Thresholds
from d2deploy.backends import FORMATS, Contract
from d2deploy.backends.capture import swapped
from d2deploy.backends.variants import variant
from d2deploy.errors import ArtifactError, ExportError
from d2deploy.models.build import Model
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.nms import NMS
from d2deploy.ops.score_threshold import ScoreThreshold
from d2deploy.predictor import Predictor
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify


def with_thresholds(model: Model, score: float, nms: float) -> Model:
    """The network with other thresholds built in."""

    def last(op: NMS) -> NMS:
        threshold = nms if op.is_of_detections else op.iou_threshold
        return NMS(iou_threshold=threshold, max_out=op.max_out, is_of_detections=op.is_of_detections)

    def labelled(op: LabelledNMS) -> LabelledNMS:
        return LabelledNMS(iou_threshold=nms, max_out=op.max_out, num_classes=op.num_classes)

    core = swapped(
        model.core,
        {ScoreThreshold: lambda _: ScoreThreshold(score), NMS: last, LabelledNMS: labelled},
        keep_aliases=True,
    )
    assert model.spec.thresholds is not None
    built_in = Thresholds(score=score, nms=nms, max_detections=model.spec.thresholds.max_detections)
    return dataclasses.replace(model, core=core.eval(), spec=dataclasses.replace(model.spec, thresholds=built_in))


# Two kinds of NMS: one of all classes' boxes, one where boxes have a class; padded and ragged; both runtimes.
FILES = [
    ("padded retinanet", "openvino-tracing"),
    ("padded cascade", "onnx-tracing"),
    ("whole panoptic", "onnx-tracing"),
]


@pytest.mark.parametrize(("name", "kind"), FILES)
def test_other_thresholds(name: str, kind: str, graph_file: Any) -> None:
    model, artifact = graph_file(name, kind)
    assert [str(tensor) for tensor in artifact.spec.inputs[-2:]] == [
        "score_threshold float32[]",
        "nms_threshold float32[]",
    ]
    runner = open_runner(artifact)
    assert runner.inputs == artifact.spec.inputs
    budget = Budget(mask_iou=0.95)
    usual = model.spec.thresholds
    middle = float(np.median(all_scores(model)))
    sums = set()
    for score, nms in [(usual.score, usual.nms), (middle, usual.nms), (usual.score, 0.1)]:
        told = artifact.with_thresholds(score=score, nms=nms)
        report = verify(told, against=with_thresholds(model, score, nms), images=demo_images(), budget=budget)
        assert report.ok, str(report)
        assert report.total.pairs > 20
        sums.add(float(all_scores(told).sum()))
    assert len(sums) == 3, "each threshold makes a difference"
    # What nobody says is what the config says.
    report = verify(artifact, against=model, images=demo_images(), budget=budget)
    assert report.ok and report.total.pairs > 20


def all_scores(source: Any) -> np.ndarray:
    with Predictor(source) as predictor:
        found = [predictor(image) for image in demo_images()]
    return np.concatenate([getattr(result, "instances", result).scores for result in found])


def test_the_rpn_keeps_its_own(network: Any) -> None:
    made = variant(network("cascade"), Contract(threshold_inputs=True))
    names: Any = made.core.names
    assert sorted(names) == [
        "roi_heads.select.above.threshold",
        "roi_heads.select.nms.iou_threshold",
    ]


@pytest.mark.parametrize("contract", [Contract(threshold_inputs=True), Contract(signature="detectron2")], ids=str)
def test_a_network_is_not_kept_by_its_variants(contract: Contract, network: Any) -> None:
    model = dataclasses.replace(network("retinanet"), core=copy.deepcopy(network("retinanet").core))
    gone = weakref.ref(model.core)
    assert variant(model, contract) is variant(model, contract)
    del model
    gc.collect()
    assert gone() is None


def test_a_network_without_thresholds(network: Any) -> None:
    with pytest.raises(ExportError, match="--threshold-inputs: ProposalNetwork has no thresholds"):
        variant(network("proposals"), Contract(threshold_inputs=True))


@pytest.mark.parametrize("format", [row.name for row in FORMATS.values() if "threshold_inputs" not in row.contract])
def test_a_format_that_cannot(format: str, network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"{format} has no --threshold-inputs. Formats that have it: onnx, openvino"):
        export(network("retinanet"), format, tmp_path / "out", threshold_inputs=True)
    assert not (tmp_path / "out").exists()


def test_fixed_thresholds_stay(network: Any, tmp_path: Path) -> None:
    artifact: Artifact = export(network("proposals"), "torchscript", tmp_path / "out", verify=False)
    with pytest.raises(ArtifactError, match=r"its thresholds are fixed\. Export again"):
        artifact.with_thresholds(score=0.5)


def test_nothing_is_passed_to_others(network: Any) -> None:
    with Predictor(network("retinanet")) as predictor:
        found = predictor(np.zeros((40, 60, 3), np.uint8))
    assert found.image_size == (40, 60)
