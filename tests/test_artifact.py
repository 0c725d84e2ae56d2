"""The artifact folder: whole or not at all, and never another than was written."""

import json
from pathlib import Path

import pytest

from d2deploy.artifact import (
    MANIFEST,
    SCHEMA,
    ModelSpec,
    Preprocess,
    TensorSpec,
    Thresholds,
    read_artifact,
    write_artifact,
    write_text,
    writing_to,
)
from d2deploy.errors import ArtifactError, OutputError

SPEC = ModelSpec(
    meta_architecture="GeneralizedRCNN",
    inputs=(TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32"),),
    outputs=(TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),),
    preprocess=Preprocess(
        min_size=800,
        max_size=1333,
        channel_order="BGR",
        size_divisor=32,
        pixel_mean=(1.0, 2.0, 3.0),
        pixel_std=(1.0, 1.0, 1.0),
    ),
    thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
    num_classes=2,
    class_names=("cat", "dog"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "out" / "onnx"
    with writing_to(target) as beside:
        (beside / "model.onnx").write_bytes(b"weights")
        write_artifact(
            beside, format="onnx", file="model.onnx", spec=SPEC, source={}, made_with={}, options={"opset": "18"}
        )
    return target


def test_what_is_written_is_read(folder: Path) -> None:
    artifact = read_artifact(folder)
    assert artifact.spec == SPEC and artifact.format == "onnx" and artifact.file == folder / "model.onnx"
    assert str(artifact).endswith("onnx (opset 18), 0.0 MB")
    assert artifact.spec.class_name(1) == "dog"
    artifact.with_verification({"ok": True})
    assert read_artifact(folder).manifest.verification == {"ok": True}
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "model.onnx"]


def _manifest(folder: Path, **changes: object) -> None:
    file = folder / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


DAMAGE = {
    "a changed byte": (lambda f: (f / "model.onnx").write_bytes(b"weightz"), "SHA-256 differs"),
    "a missing file": (lambda f: (f / "model.onnx").unlink(), "model.onnx is missing"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "is not an artifact"),
    "a newer schema": (lambda f: _manifest(f, schema=SCHEMA + 1), "pip install -U d2deploy"),
    "an unknown field": (lambda f: _manifest(f, colour="red"), "cannot be read as a manifest"),
    "a spec that is none": (lambda f: _manifest(f, spec=[1]), "cannot be read as a manifest"),
    "no JSON": (lambda f: (f / MANIFEST).write_text("{"), "cannot be read as a manifest"),
    "binary": (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe\x00"), "cannot be read as a manifest"),
    "a list": (lambda f: (f / MANIFEST).write_text("[]"), "cannot be read as a manifest"),
    "a file outside": (lambda f: _manifest(f, file="../../secret"), "outside"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name: str, folder: Path) -> None:
    damage, words = DAMAGE[name]
    damage(folder)
    with pytest.raises(ArtifactError, match=words):
        read_artifact(folder)


def write_half_and_fail(folder: Path) -> None:
    (folder / "half").write_text("x")
    raise ZeroDivisionError


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing_to(tmp_path / "out") as beside:
        write_half_and_fail(beside)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    no_space = pytest.raises(OutputError, match="cannot be written: No space left")
    with no_space, writing_to(tmp_path / "out"):
        Path("/dev/full").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "below", "x")


def test_a_folder_in_use_is_kept(folder: Path) -> None:
    with pytest.raises(OutputError, match="--overwrite"), writing_to(folder):
        pass
    assert read_artifact(folder).spec == SPEC
    with writing_to(folder, overwrite=True) as beside:
        (beside / "new").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["new"]
