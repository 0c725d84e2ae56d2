"""The real Caffe2 against the network. Skipped by name where it is not; `make test-caffe2` brings it."""

import importlib.util
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import sha256
from d2deploy.backends.caffe2 import FILE, runner
from d2deploy.backends.caffe2.client import WorkerDied
from d2deploy.backends.caffe2.runner import Caffe2Runner
from d2deploy.errors import ArtifactError, DeviceError
from d2deploy.image import read_image, resize_shortest_edge, to_batch
from d2deploy.runner import open_runner
from d2deploy.workflows.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("runtime")
HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden"


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"caffe2_{name}", HERE.parent / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


every = _module("test_every_format")


@pytest.fixture(scope="module")
def ran(exported):
    """One process for the tests of the demo's net."""
    made = open_runner(exported("caffe2-tracing"))
    yield made
    made.close()


@pytest.mark.parametrize("name", every.SIZES)
def test_sizes_never_seen(name, ran, model):
    count, shorter, longer = every.SIZES[name]
    files = every.PICTURES[40 : 40 + count]
    pictures = [resize_shortest_edge(read_image(file), min_size=shorter, max_size=longer) for file in files]
    images, sizes = to_batch(pictures, channel_order="BGR", size_divisor=1)
    assert every.same(every.raw(ran, images, sizes), every.raw(open_runner(model), images, sizes), count) > 0


@pytest.mark.parametrize("shape", [(1, 3, 64, 1), (1, 3, 1, 64), (1, 3, 1, 1), (3, 3, 100, 37)], ids=str)
def test_no_detection(shape, ran, model):
    images = np.full(shape, 110, np.float32)
    sizes = np.full((shape[0], 2), shape[2:], np.int64)
    outputs = every.raw(ran, images, sizes)
    assert every.same(outputs, every.raw(open_runner(model), images, sizes), shape[0]) == 0
    assert outputs["mask_probs"].shape == (0, 28, 28)


def test_padding_and_scale_are_ignored(ran):
    """Whatever lies beyond an image's size; and whatever scale a caller of detectron2's kind gives in im_info."""
    picture = resize_shortest_edge(read_image(every.PICTURES[0]), min_size=192, max_size=320)
    images, sizes = to_batch([picture], channel_order="BGR", size_divisor=32)
    dirty = images.copy()
    dirty[:, :, sizes[0, 0] :] = 255
    dirty[:, :, :, sizes[0, 1] :] = 255
    assert every.same(every.raw(ran, images, sizes), every.raw(ran, dirty, sizes), 1) > 0
    names = ["bbox_nms", "score_nms"]
    made = [
        ran._worker.run(ran._net, {"data": images, "im_info": np.array([[*sizes[0], scale]], np.float32)}, names)
        for scale in (1, 1.6)
    ]
    assert all((made[0][name] == made[1][name]).all() for name in names)


def test_detectron2_s_accuracy(exported):
    """The 100 validation images: the AP that detectron2 itself has."""
    data = every.SHAPES
    found = evaluate(
        exported("caffe2-tracing"),
        image_root=data / "val",
        coco_json=data / "annotations/instances_val.json",
    )
    theirs = json.loads((GOLDEN / "models" / "mask_rcnn" / "metrics.json").read_text())["results"]
    for task, values in theirs.items():
        for key, value in values.items():
            ours = found.metrics[task][key]
            assert (np.isnan(value) and np.isnan(ours)) or abs(ours - value) <= 0.05, (task, key, ours, value)


def test_the_worker_is_killed_in_the_middle(artifact):
    made = open_runner(artifact)
    assert isinstance(made, Caffe2Runner)
    pid = made._worker._process.pid
    images = np.full((4, 3, 800, 800), 110, np.float32)

    def kill() -> None:
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(WorkerDied, match="ended with -9 while running the net"):
        made(images, np.full((4, 2), 800))
    made.close()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"\xff" * 99])
def test_files_that_caffe2_refuses(damage, artifact, tmp_path, runtime):
    file = tmp_path / FILE
    file.write_bytes(damage(artifact.file.read_bytes()))
    assert sha256(file) != sha256(artifact.file)
    with pytest.raises(ArtifactError, match="cannot be loaded by Caffe2"):
        runner.Caffe2Runner(runtime, file, artifact.path / "model_init.pb", artifact.spec)


def test_devices(artifact):
    with pytest.raises(DeviceError, match="on the CPU"):
        open_runner(artifact, device="cuda")
