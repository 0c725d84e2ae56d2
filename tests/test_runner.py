"""The one door to the formats. The formats here are made up; the real ones have tests of their own."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from d2deploy.artifact import ModelSpec, Preprocess, Thresholds, write_artifact
from d2deploy.errors import ArtifactError
from d2deploy.runner import open_runner, to_source

SPEC = ModelSpec(
    meta_architecture="GeneralizedRCNN",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(
        min_size=0, max_size=0, channel_order="BGR", size_divisor=0, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
    num_classes=1,
    class_names=(),
)


@pytest.fixture
def backends(monkeypatch):
    """Puts the formats "fake" (in backends/plain.py) and "eager" in place of the real ones."""
    package = ModuleType("d2deploy.backends")
    vars(package)["FORMATS"] = {"fake": SimpleNamespace(module="plain", runtime_extra="plain")}
    monkeypatch.setitem(sys.modules, package.__name__, package)
    for name in ("plain", "eager"):
        module = ModuleType(f"d2deploy.backends.{name}")
        vars(module)["load"] = lambda source, device, name=name: (name, source, device)
        monkeypatch.setitem(sys.modules, module.__name__, module)


def artifact(folder, format):
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return write_artifact(folder, format=format, file="model.bin", spec=SPEC, made_with={}, source={}, options={})


def test_an_artifact_is_loaded_by_its_formats_module(backends, tmp_path):
    source = artifact(tmp_path / "a", "fake")
    assert open_runner(source) == ("plain", source, "cpu")
    assert open_runner(source, device="cuda") == ("plain", source, "cuda")


@pytest.mark.parametrize("kind", [str, lambda p: p], ids=["str", "Path"])
def test_a_path_is_read_first(backends, tmp_path, kind):
    source = artifact(tmp_path / "a", "fake")
    assert to_source(kind(tmp_path / "a")) == source
    assert open_runner(kind(tmp_path / "a")) == ("plain", source, "cpu")


def test_a_network_in_memory_needs_no_row_in_the_table(backends):
    model = SimpleNamespace(format="eager", spec=SPEC)
    assert open_runner(model) == ("eager", model, "cpu")


def test_an_artifact_cannot_be_a_network_in_memory(backends, tmp_path):
    with pytest.raises(ArtifactError, match="format 'eager', which this d2deploy cannot run"):
        open_runner(artifact(tmp_path / "a", "eager"))


def test_an_unknown_format_names_those_that_are_known(backends, tmp_path):
    artifact(tmp_path / "a", "tomorrow")
    with pytest.raises(ArtifactError, match=r"format 'tomorrow'.*It can run: fake"):
        open_runner(tmp_path / "a")


def test_a_folder_that_is_no_artifact_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="is not an artifact"):
        open_runner(tmp_path)
    with pytest.raises(ArtifactError, match="is not an artifact"):
        open_runner(str(tmp_path / "nowhere"))


def test_a_changed_file_is_not_run(backends, tmp_path):
    artifact(tmp_path / "a", "fake")
    (tmp_path / "a/model.bin").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the file that was exported"):
        open_runner(tmp_path / "a")
