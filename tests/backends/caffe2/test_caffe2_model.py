"""Caffe2Model: called as detectron2's networks are; reads and writes folders; draws."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy import Caffe2Model
from d2deploy.artifact import Artifact, read_artifact
from d2deploy.backends.caffe2.client import TIMEOUT, WorkerDied
from d2deploy.backends.caffe2.model import as_dict
from d2deploy.errors import ArtifactError, D2DeployError, ImageError, MissingExtra, OutputError
from d2deploy.models.build import Model
from d2deploy.predictor import Predictor
from d2deploy.results import PanopticResult, Segment, SemanticResult
from d2deploy.workflows.matching import match


@pytest.fixture(scope="module")
def called(runtime: Any, exported: Any) -> Iterator[Caffe2Model]:
    """The demo's network, its process started once."""
    with Caffe2Model.load_protobuf(exported("caffe2-tracing").path) as made:
        yield made


def check_same(ours: Any, theirs: Any) -> int:
    pairs = match(ours, theirs).pairs
    assert len(pairs) == len(ours) == len(theirs) and ours.image_size == theirs.image_size
    left, right = ours[pairs[:, 0]], theirs[pairs[:, 1]]
    assert np.abs(left.pred_boxes - right.pred_boxes).max(initial=0) <= 0.05
    assert np.abs(left.scores - right.scores).max(initial=0) <= 1e-4
    assert left.pred_masks is not None and right.pred_masks is not None
    both, either = (left.pred_masks & right.pred_masks).sum(), (left.pred_masks | right.pred_masks).sum()
    assert both >= 0.995 * either
    return len(pairs)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_finds_what_the_network_finds(count, called, model, inputs):
    """Against the network in torch, on the original images; arrays and tensors, of bytes and of floats."""
    batch = inputs(count)
    files = [item.pop("file") for item in batch]
    assert len({item["image"].shape for item in batch}) == count
    theirs = Predictor(model).batch(files)
    kinds = (np.ascontiguousarray, lambda array: torch.from_numpy(array.copy()), lambda array: array.astype(np.float32))
    for kind in kinds if count == 2 else kinds[:1]:
        found = called([{**item, "image": kind(item["image"])} for item in batch])
        assert [list(item) for item in found] == [["instances"]] * count
        pairs = [check_same(ours["instances"], instances) for ours, instances in zip(found, theirs, strict=True)]
        assert min(pairs) > 5


def test_the_size_of_results(called, inputs):
    """That of the input unless "height" and "width" say otherwise."""
    (item,) = inputs(1)
    plain, wide = called([{"image": item["image"]}])[0], called([{**item, "height": 50, "width": 700}])[0]
    height, width = item["image"].shape[1:]
    assert plain["instances"].image_size == (height, width) and wide["instances"].image_size == (50, 700)
    ratio = wide["instances"].pred_boxes / plain["instances"].pred_boxes
    assert np.allclose(ratio, [700 / width, 50 / height] * 2, rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 64, 1), (3, 1, 64), (3, 1, 1)], ids=str)
def test_nothing_to_find_in_a_sliver(shape, called):
    """Alone, and beside an image of another size."""
    image = np.full(shape, 110, np.uint8)
    for batch in ([image], [np.full((3, 70, 33), 110, np.uint8), image]):
        found = called([{"image": item, "height": 90, "width": 40} for item in batch])
        assert all(len(item["instances"]) == 0 for item in found)
        assert found[-1]["instances"].pred_masks.shape == (0, 90, 40)
    assert called([]) == []


WRONG: dict[str, Any] = {
    "must be a list of dicts": {"image": np.zeros((3, 4, 4))},
    'dicts, each with "image"': [{"file_name": "a.jpg"}],
    r"inputs\[0\]: the image is \[4, 4, 3\]": [{"image": np.zeros((4, 4, 3))}],
    r"the image is no array of numbers": [{"image": "street.jpg"}],
    r"the image is \[3, 0, 4\]; it must be \[3": [{"image": np.zeros((3, 0, 4))}],
    r'inputs\[1\]: "height" and "width" are \(0, 4\)': [{"image": np.zeros((3, 4, 4)), "height": h} for h in (1, 0)],
    r'"width" are \(4, 1.5\); they must be whole': [{"image": np.zeros((3, 4, 4)), "width": 1.5}],
}


@pytest.mark.parametrize("message", WRONG)
def test_inputs_that_are_refused(message, artifact):
    with pytest.raises(ImageError, match=message):
        Caffe2Model(artifact.path)(WRONG[message])


def test_other_results_have_detectron2_s_keys():
    semantic = SemanticResult(image_size=(2, 2), logits=np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    assert as_dict(semantic).keys() == {"sem_seg"} and (as_dict(semantic)["sem_seg"] == semantic.logits).all()
    segments = (
        Segment(id=1, is_thing=True, category_id=4, score=0.5, instance_id=0),
        Segment(id=2, is_thing=False, category_id=7, area=3),
    )
    picture = np.array([[1, 2], [2, 2]], np.int32)
    found = as_dict(
        PanopticResult(image_size=(2, 2), panoptic_seg=picture, segments=segments, sem_seg=semantic, instances=None)
    )
    assert found.keys() == {"sem_seg", "panoptic_seg"}
    assert found["panoptic_seg"][0] is picture and (found["sem_seg"] == semantic.logits).all()
    assert found["panoptic_seg"][1] == [
        {"id": 1, "isthing": True, "category_id": 4, "score": 0.5, "instance_id": 0},
        {"id": 2, "isthing": False, "category_id": 7, "area": 3},
    ]


class Boxes:
    """detectron2's classes, as far as they are looked at: Instances.proposal_boxes, Boxes.tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_proposals_in_and_out(artifact, tmp_path, monkeypatch):
    """A network that gives back the proposals that it takes; runner and nets are not Caffe2's here."""
    folder = shutil.copytree(artifact.path, tmp_path / "given")
    taken: list[np.ndarray] = []

    def run(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        taken[:] = arrays
        _, _, boxes, counts = arrays
        rows = np.repeat(np.arange(len(counts)), counts)
        boxes = np.concatenate([image[:count] for image, count in zip(boxes, counts, strict=True)])
        return boxes, np.arange(len(rows), 0, -1).astype(np.float32), rows

    manifest = json.loads((folder / "manifest.json").read_text())
    box = {"name": "proposal_boxes", "shape": ["N", "P", 4], "dtype": "float32"}
    manifest["spec"]["inputs"] += [box, {"name": "num_proposals", "shape": ["N"], "dtype": "int64"}]
    names = {"proposal_boxes": ["D", 4], "objectness_logits": ["D"], "image_index": ["D"]}
    manifest["spec"]["outputs"] = [{"name": n, "shape": shape, "dtype": "float32"} for n, shape in names.items()]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr("d2deploy.backends.caffe2.model.open_nets", lambda *_, **__: run)
    image = np.zeros((3, 20, 30), np.uint8)
    boxes = np.array([[0, 0, 10, 5], [2, 3, 4, 6], [1, 1, 30, 20]], np.float32)
    tensor = torch.from_numpy(boxes[:1])
    kinds: tuple[Any, ...] = (tensor, Boxes(tensor), SimpleNamespace(proposal_boxes=Boxes(tensor)))
    for given in kinds:
        inputs: list[dict[str, Any]] = [
            {"image": image, "proposals": boxes, "height": 40},
            {"image": image, "proposals": given},
        ]
        found = [item["proposals"] for item in Caffe2Model(folder)(inputs)]
        assert (found[0].proposal_boxes == boxes * [1, 2, 1, 2]).all() and (found[1].proposal_boxes == boxes[:1]).all()
        assert taken[2].shape == (2, 3, 4) and taken[3].tolist() == [3, 1] and not taken[2][1, 1:].any()
    with pytest.raises(ImageError, match=r"inputs\[0\]: this network needs .proposals., boxes \[P, 4\]"):
        Caffe2Model(folder)([{"image": image}])
    with pytest.raises(ImageError, match=r"the proposals are \[3, 2\]; they must be boxes"):
        Caffe2Model(folder)([{"image": image, "proposals": boxes[:, :2]}])


def test_what_is_saved_is_what_was_loaded(artifact, tmp_path):
    Caffe2Model(artifact.path).save_protobuf(tmp_path / "new")
    assert read_artifact(tmp_path / "new").manifest == artifact.manifest
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.pb", "model_init.pb"):
        shutil.copy(artifact.path / name, bare)
    Caffe2Model(bare).save_protobuf(tmp_path / "text")
    assert {file.name for file in (tmp_path / "text").iterdir()} == {"model.pb", "model_init.pb", "model.pbtxt"}
    assert (tmp_path / "text/model.pbtxt").read_text() == (artifact.path / "model.pbtxt").read_text()
    with pytest.raises(OutputError, match="text is not empty"):
        Caffe2Model(artifact.path).save_protobuf(tmp_path / "text")


def test_a_picture_with_the_sizes_of_a_run(called, artifact, inputs, tmp_path):
    called.save_graph(tmp_path / "any.svg")
    assert (tmp_path / "any.svg").read_text() == (artifact.path / "model.svg").read_text()
    batch = inputs(2)
    called.save_graph(tmp_path / "run.svg", batch)
    height, width = (max(item["image"].shape[axis] + 31 for item in batch) // 32 * 32 for axis in (1, 2))
    texts = set(re.findall(r">([^<]+)</text>", (tmp_path / "run.svg").read_text()))
    assert {f"2 x 3 x {height} x {width}", f"2 x 256 x {height // 16} x {width // 16}"} <= texts
    with pytest.raises(ImageError, match="no input to run"):
        called.save_graph(tmp_path / "run.svg", [])


def test_other_folders(artifact, tmp_path):
    with pytest.raises(ArtifactError, match=r"model\.pb is missing"):
        Caffe2Model(tmp_path)
    other = shutil.copytree(artifact.path, tmp_path / "other")
    text = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(text.replace('"format": "caffe2"', '"format": "onnx"'))
    with pytest.raises(ArtifactError, match=r"holds onnx, not Caffe2. Use Predictor"):
        Caffe2Model(other)


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "random": lambda data: np.random.default_rng(0).integers(0, 256, len(data), np.uint8).tobytes(),
    "one byte": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["model.pb", "model_init.pb"])
def test_damaged_files(name, how, artifact, tmp_path):
    """With a manifest nothing passes; without one what is no longer a net."""
    folder = shutil.copytree(artifact.path, tmp_path / "damaged")
    (folder / name).write_bytes(DAMAGE[how]((folder / name).read_bytes()))
    with pytest.raises(ArtifactError, match=f"{name} is not the file that was exported"):
        Caffe2Model(folder)
    (folder / "manifest.json").unlink()
    if how != "one byte":
        with pytest.raises(ArtifactError, match=f"{name} is no Caffe2 net"):
            Caffe2Model(folder)


def test_without_a_runtime(artifact, inputs, tmp_path, monkeypatch):
    """All but running goes; what is missing is said when it is called."""
    monkeypatch.delenv("D2DEPLOY_CAFFE2_PYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = Caffe2Model(artifact.path)
    assert "bbox_nms" in model.predict_net.external_output and len(model.init_net.op) > 50
    with pytest.raises(MissingExtra, match="d2deploy caffe2-runtime --python"):
        model(inputs(1))


def test_without_torch(artifact):
    """A program that only runs a model has no need of it."""
    script = (
        "import sys\nfrom d2deploy import Caffe2Model\nmodel = Caffe2Model.load_protobuf(sys.argv[1])\n"
        "print('torch' in sys.modules, len(model.predict_net.op) > 100)"
    )
    done = subprocess.run([sys.executable, "-c", script, artifact.path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_after_its_process_was_killed_it_starts_another(called, inputs):
    batch = inputs(1)
    before = called(batch)[0]["instances"]
    first = called._runner._worker._process.pid
    os.kill(first, signal.SIGINT)  # Ctrl-C reaches it too; it is not meant
    assert (called(batch)[0]["instances"].pred_boxes == before.pred_boxes).all()
    os.kill(first, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="ended with -9 while running the net"):
        called(batch)
    assert (called(batch)[0]["instances"].pred_boxes == before.pred_boxes).all()
    assert called._runner._worker._process.pid != first


def test_a_run_that_takes_too_long(artifact: Artifact, runtime: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv(TIMEOUT, "60")
    with Caffe2Model(artifact.path) as model:
        model([{"image": np.full((3, 32, 32), 110, np.uint8)}])
        assert model._runner is not None
        model._runner._worker._seconds = 0.3
        with pytest.raises(WorkerDied, match=r"did not answer within 0\.3 seconds while running the net"):
            model([{"image": np.full((3, 800, 800), 110, np.uint8)}] * 3)


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan"])
def test_a_time_that_is_none(seconds, artifact, runtime, monkeypatch):
    monkeypatch.setenv(TIMEOUT, seconds)
    with pytest.raises(D2DeployError, match=f"{TIMEOUT} is '{seconds}'; it must be a number of seconds above 0"):
        Caffe2Model(artifact.path)([{"image": np.zeros((3, 32, 32))}])


def test_two_at_once_and_threads_that_share_one(called: Caffe2Model, model: Model, artifact: Any, inputs: Any) -> None:
    batch = inputs(2)
    alone = [called([item])[0]["instances"] for item in batch]
    with Caffe2Model(artifact.path) as other:
        found: dict[int, Any] = {}

        def run(number: int) -> None:
            source = (called, called, other, other)[number]
            found[number] = [source([item])[0]["instances"] for item in batch]

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other._runner is not None and called._runner is not None
        assert other._runner._worker._process.pid != called._runner._worker._process.pid
    for instances in (found[number] for number in range(4)):
        assert all((a.pred_boxes == b.pred_boxes).all() for a, b in zip(instances, alone, strict=True))
