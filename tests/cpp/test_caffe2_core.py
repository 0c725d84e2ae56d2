"""What Caffe2's client makes of a net's blobs, against Python's rules, on blobs that no network would give."""

import json
import subprocess
from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import TensorSpec
from d2deploy.backends.caffe2.names import ALL_OUTPUTS
from d2deploy.backends.caffe2.runner import core_outputs
from d2deploy.postprocess.dense_pose import CONFIDENCES


def run(tool: Any, blobs: dict[str, np.ndarray]) -> subprocess.CompletedProcess[str]:
    given = {
        name: {"dtype": str(blob.dtype), "shape": blob.shape, "data": blob.ravel().tolist()}
        for name, blob in blobs.items()
    }
    return subprocess.run([tool("check"), "core"], input=json.dumps(given), capture_output=True, text=True, timeout=300)


def client_core(tool: Any, blobs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    ran = run(tool, blobs)
    assert ran.returncode == 0, ran.stderr
    return {name: np.reshape(tensor["data"], tensor["shape"]) for name, tensor in json.loads(ran.stdout).items()}


def net_blobs(seed: int, masks_of: int = 4) -> dict[str, np.ndarray]:
    """Of three images, under the manifest's names: by class, some scores equal, masks of `masks_of` classes."""
    random = np.random.default_rng(seed)
    counts = random.permutation([0, 3, 7])
    count = int(counts.sum())
    return {
        "boxes": random.random((count, 4), dtype=np.float32),
        "scores": random.integers(1, 6, count).astype(np.float32) / 8,
        "classes": np.sort(random.integers(0, 4, count)).astype(np.float32),
        "image_index": counts.astype(np.float32),
        "mask_probs": random.random((count, masks_of, 3, 3), dtype=np.float32),
        "keypoint_heatmaps": random.random((count, 2, 5, 5), dtype=np.float32),
        "sem_seg": random.random((3, 2, 4, 6), dtype=np.float32),
    }


def proposals() -> dict[str, np.ndarray]:
    detections = net_blobs(0)
    return {
        "proposal_boxes": detections["boxes"],
        "objectness_logits": detections["scores"],
        "image_index": detections["image_index"],
    }


def surfaces() -> dict[str, np.ndarray]:
    detections, random = net_blobs(3), np.random.default_rng(3)
    detections.pop("mask_probs")
    names = ("coarse_segm", "fine_segm", "u", "v", *CONFIDENCES, "embedding")
    cells = {name: random.random((10, 3, 4, 4), dtype=np.float32) for name in names}
    return detections | cells | {"vertex_embeddings": random.random((7, 3), dtype=np.float32)}


def maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random((1, 2, 4, 6), dtype=np.float32) for name in ("sem_seg", "center", "offset")}


NO_ROWS = {"sem_seg", "center", "offset", "vertex_embeddings"}
BLOBS = {
    "detections": lambda: net_blobs(0),
    "other detections": lambda: net_blobs(1),
    "one mask for all classes": lambda: net_blobs(2, masks_of=1),
    "proposals": proposals,
    "maps": maps,
    "surfaces": surfaces,
}


@pytest.mark.parametrize("case", BLOBS)
def test_blobs_become_the_core_s_outputs(case, tool):
    blobs = BLOBS[case]()
    specs = [TensorSpec(name=name, shape=("V" if name in NO_ROWS else "D",), dtype="") for name in blobs]
    expected = core_outputs({ALL_OUTPUTS[name]: blob for name, blob in blobs.items()}, specs)
    ours = client_core(tool, blobs)
    assert len(ours) == len(expected) == len(blobs)
    for name, theirs in zip(blobs, expected, strict=True):
        assert ours[name].shape == theirs.shape, name
        np.testing.assert_array_equal(ours[name], theirs, name)
    is_in_order = [np.array_equal(ours[name], blob) for name, blob in blobs.items() if name in ("scores", "boxes")]
    assert not any(is_in_order)


def test_the_blobs_have_every_name():
    assert {name for made in BLOBS.values() for name in made()} == ALL_OUTPUTS.keys()


# Name of an output, and what stands in its place.
BAD: dict[str, tuple[str, np.ndarray]] = {
    "more than there are": ("image_index", np.array([0, 3, 8], np.float32)),
    "fewer than there are": ("image_index", np.array([0, 3, 6], np.float32)),
    "less than none": ("image_index", np.array([-1, 4, 7], np.float32)),
    "not a number": ("image_index", np.array([0, 10], np.int64)),
    "fewer boxes": ("boxes", np.zeros((9, 4), np.float32)),
    "fewer masks": ("mask_probs", np.zeros((9, 4, 3, 3), np.float32)),
    "fewer heat maps": ("keypoint_heatmaps", np.zeros((9, 2, 5, 5), np.float32)),
    "masks of fewer classes": ("mask_probs", np.zeros((10, 2, 3, 3), np.float32)),
}


@pytest.mark.parametrize("case", BAD)
def test_blobs_that_do_not_fit_are_refused(case, tool):
    name, blob = BAD[case]
    ran = run(tool, net_blobs(0) | {name: blob})
    assert ran.returncode == 2
    assert f"gave the output {name} [" in ran.stderr
