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
)
from d2deploy.errors import ArtifactError, OutputError
from d2deploy.writing import check_writable, write_text, writing_to

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


def _spec(folder: Path, **changes: object) -> None:
    _manifest(folder, spec={**json.loads((folder / MANIFEST).read_text())["spec"], **changes})


def _preprocess(folder: Path, **changes: object) -> None:
    spec = json.loads((folder / MANIFEST).read_text())["spec"]
    _spec(folder, preprocess={**spec["preprocess"], **changes})


MESH = {"name": "cat", "num_vertices": 3, "classes": [0]}


def _vertices(*shape: int) -> dict[str, object]:
    return {"name": "vertex_embeddings", "shape": list(shape), "dtype": "float32"}


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
    "endless brackets": (lambda f: (f / MANIFEST).write_text("[" * 100_000), "cannot be read as a manifest"),
    "a schema without end": (lambda f: (f / MANIFEST).write_text('{"schema": Infinity}'), "cannot be read as a"),
    "a list for the format": (lambda f: _manifest(f, format=["onnx"]), "format is"),
    "no hashes": (lambda f: _manifest(f, hashes=None), "hashes is 'None'"),
    "a report that is none": (lambda f: _manifest(f, verification=3), "verification is '3'"),
    "options that are none": (lambda f: _manifest(f, options={"opset": 18}), "options is '18'"),
    "a text for a count": (lambda f: _spec(f, num_classes="2"), "num_classes is '2', which is no int"),
    "a fraction for a count": (lambda f: _spec(f, num_classes=2.0), "num_classes is '2.0'"),
    "a count below none": (lambda f: _spec(f, num_classes=-1), "num_classes, class_names out of range"),
    "too few class names": (lambda f: _spec(f, class_names=["cat"]), "class_names out of range"),
    "a text for class names": (lambda f: _spec(f, class_names="cd"), "class_names is 'cd'"),
    "an unknown field of a tensor": (lambda f: _spec(f, inputs=[{"size": 1}]), "inputs has an unknown field 'size'"),
    "too few fields of a tensor": (lambda f: _spec(f, inputs=[{"name": "images"}]), "cannot be read as a manifest"),
    "an axis of another kind": (
        lambda f: _spec(f, inputs=[{"name": "images", "shape": [1.5], "dtype": "float32"}]),
        "shape is '1.5'",
    ),
    "another order of channels": (lambda f: _preprocess(f, channel_order="HSV"), "channel_order out of range"),
    "a size below none": (lambda f: _preprocess(f, min_size=-1), "min_size out of range"),
    "a padding beyond all memory": (lambda f: _preprocess(f, size_divisor=10**9), "size_divisor out of range"),
    "a mesh without its vertices": (lambda f: _spec(f, meshes=[MESH]), "meshes out of range"),
    "vertices of no shape": (lambda f: _spec(f, meshes=[], outputs=[_vertices()]), "meshes out of range"),
    "fewer vertices than the mesh has": (
        lambda f: _spec(f, meshes=[MESH], outputs=[_vertices(2, 16)]),
        "meshes out of",
    ),
    "a mesh of nothing": (
        lambda f: _spec(f, meshes=[MESH, {**MESH, "num_vertices": 0}], outputs=[_vertices(3, 16)]),
        "meshes out of range",
    ),
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
    with pytest.raises(OutputError, match="a file is where a folder must be"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(OutputError, match="Free some space"):
        write_text(Path("/dev/full"), "x")


def test_devices_and_links_stay_what_they_are(tmp_path: Path) -> None:
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_text() == "new"
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    for content in ("old", "new"):
        with writing_to(tmp_path / "out", overwrite=True) as beside:
            (beside / "file").write_text(content)
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link", "out", "there"]


def test_a_place_is_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for good in (tmp_path / "new", tmp_path / "a" / "b" / "new", tmp_path / "file", Path("/dev/null")):
        check_writable(good)
    for bad, words in ((tmp_path, "it is a folder"), (tmp_path / "file" / "new", "a file is where")):
        with pytest.raises(OutputError, match=words):
            check_writable(bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_use_is_kept(folder: Path) -> None:
    with pytest.raises(OutputError, match="--overwrite"), writing_to(folder):
        pass
    assert read_artifact(folder).spec == SPEC
    with writing_to(folder, overwrite=True) as beside:
        (beside / "new").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_of_two_at_once_the_second_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new"
    slow, fast = writing_to(target), writing_to(target)
    (slow.__enter__() / "file").write_text("slow")
    with fast as folder_of_fast:
        (folder_of_fast / "file").write_text("fast")
    with pytest.raises(OutputError, match="--overwrite"):
        slow.__exit__(None, None, None)
    assert (target / "file").read_text() == "fast"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]
