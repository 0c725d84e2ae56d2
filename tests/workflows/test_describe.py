"""What `inspect` says of models of every kind."""

import dataclasses
from pathlib import Path

import pytest

from d2deploy.artifact import (
    Artifact,
    Manifest,
    ModelSpec,
    PanopticDeepLabRule,
    PanopticRule,
    Preprocess,
    TensorSpec,
    Thresholds,
)
from d2deploy.workflows.describe import describe

SEM_SEG = TensorSpec(name="sem_seg", shape=("N", 3, "H", "W"), dtype="float32")
SPEC = ModelSpec(
    meta_architecture="PanopticFPN",
    inputs=(),
    outputs=(TensorSpec(name="boxes", shape=("D", 4), dtype="float32"), SEM_SEG),
    preprocess=Preprocess(
        min_size=800, max_size=1333, channel_order="BGR", size_divisor=32, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
    num_classes=2,
    class_names=("cat", "dog"),
    sem_seg_names=("things", "sky", "sea"),
    panoptic=PanopticRule(overlap=0.4, stuff_area=4096, instance_score=0.6),
)
DEEPLAB = PanopticDeepLabRule(
    thing_ids=(1,), stuff_area=2048, center_threshold=0.1, nms_kernel=7, top_k=200, predict_instances=True
)


def described(**changes):
    manifest = Manifest(
        format="onnx",
        file="model.onnx",
        spec=dataclasses.replace(SPEC, **changes),
        hashes={},
        made_with={},
        source={},
        options={},
    )
    lines = describe(Artifact(Path("out"), manifest)).splitlines()
    return {line[:11].strip(): line[11:].strip() for line in lines}


def test_panoptic():
    found = described()
    assert found["model"] == "PanopticFPN, 2 classes, 3 classes of pixels"
    assert found["classes"] == "cat, dog"
    assert found["pixels are"] == "things, sky, sea"
    assert found["kept"].startswith("score > 0.05")
    assert "score 0.6 or more" in found["segments"] and "40%" in found["segments"] and "4096" in found["segments"]


def test_semantic():
    outputs = {"outputs": (SEM_SEG,), "num_classes": 0, "class_names": (), "panoptic": None, "thresholds": None}
    found = described(**outputs, sem_seg_names=())
    assert found["model"] == "PanopticFPN, 3 classes of pixels"
    assert found["pixels are"] == "names unknown (numbers are shown)"
    assert not {"classes", "kept", "segments"} & found.keys()


def test_another_rule():
    assert "center_threshold 0.1" in described(panoptic=None, panoptic_deeplab=DEEPLAB)["segments"]


def test_what_is_inside():
    assert described()["resizing"].endswith("padded at the right and bottom to multiples of 32")
    assert "results" not in described()
    found = described(includes_preprocess=True, includes_postprocess=True)
    assert found["resizing"] == "shorter edge 800, longer at most 1333; inside, with the padding"
    assert found["results"].startswith("on the original image")


def test_many_names_are_cut():
    names = tuple(f"class{i}" for i in range(1203))
    found = described(num_classes=1203, class_names=names)
    assert found["classes"].endswith("class39, and 1163 more")


@pytest.mark.parametrize("shape", [(), ("N",)])
def test_an_odd_shape_is_no_reason_to_fail(shape):
    assert described(outputs=(TensorSpec(name="sem_seg", shape=shape, dtype="float32"),))["model"]
