"""The one door to the formats. The formats here are made up; the real ones have tests of their own."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec, Thresholds, write_artifact
from d2deploy.errors import ArtifactError, InputError
from d2deploy.runner import check_arrays, open_runner, to_source

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


IMAGES = TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32")
SIZES = TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64")
TWO = np.zeros((2, 3, 32, 48), np.float32), np.array([[32, 48], [30, 20]])
WRONG: dict[str, tuple[Any, str]] = {
    "one array": (TWO[:1], r"takes images float32\[N, 3, H, W\], image_sizes int64\[N, 2\], but 1 arrays were given"),
    "of doubles": ((TWO[0].astype(np.float64), TWO[1]), r"but images was float64\[2, 3, 32, 48\]"),
    "of the other byte order": ((TWO[0].astype(">f4"), TWO[1]), r"but images was >f4"),
    "one axis less": ((TWO[0][0], TWO[1]), r"but images was float32\[3, 32, 48\]"),
    "one channel": ((TWO[0][:, :1], TWO[1]), r"but images was float32\[2, 1, 32, 48\]"),
    "sizes of one image": (
        (TWO[0], TWO[1][:1]),
        r"but image_sizes was int64\[1, 2\]\. Give arrays of that dtype and shape",
    ),
    "a list": ((TWO[0], [[32, 48], [30, 20]]), r"but image_sizes was list"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_a_model_does_not_take(case):
    arrays, message = WRONG[case]
    check_arrays((IMAGES, SIZES), TWO)
    with pytest.raises(InputError, match=message):
        check_arrays((IMAGES, SIZES), arrays)


def test_a_changed_file_is_not_run(backends, tmp_path):
    artifact(tmp_path / "a", "fake")
    (tmp_path / "a/model.bin").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the file that was exported"):
        open_runner(tmp_path / "a")
