"""Two files without a manifest: run where they hold all that it takes, refused where not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2deploy import Caffe2Model
from d2deploy.artifact import MANIFEST
from d2deploy.backends.caffe2.foreign import read_foreign
from d2deploy.backends.caffe2.messages import add_op, new_net, set_arg
from d2deploy.errors import ArtifactError

# Nets of a few operators as detectron2's exporter writes them: names that are numbers, no manifest, one image.
MEAN, STD = np.array([103.5, 116.25, 123.75], np.float32), np.array([2.0, 4.0, 1.0], np.float32)
BOXES = np.array([[0, 0, 8, 4], [4, 2, 12, 10]], np.float32)
SCORES, CLASSES = np.array([0.75, 0.875], np.float32), np.array([1, 0], np.float32)
MASKS = np.zeros((2, 2, 2, 2), np.float32)
MASKS[0, 1], MASKS[1, 0] = 0.75, [[1, 0], [1, 0]]  # each in the channel of its class
KERNEL = np.random.default_rng(0).uniform(-1, 1, (3, 3, 3, 3)).astype(np.float32)
PREDICTOR = "_wrapped_model.sem_seg_head.predictor.weight"
COMBINE = {
    "combine_overlap_threshold": 0.5,
    "combine_stuff_area_limit": 4,
    "combine_instances_confidence_threshold": 0.5,
}


def panoptic_nets() -> tuple[Any, Any]:
    """model.pb and model_init.pb: two detections that are always there; sem_seg is a convolution of the image."""
    net, init = new_net("torch-jit-export_predict"), new_net("")
    add_op(net, "Sub", inputs=["data", "1"], outputs=["3"], args={})
    add_op(net, "Div", inputs=["3", "2"], outputs=["4"], args={})
    window = {"strides": [1, 1], "pads": [1, 1, 1, 1], "kernels": [3, 3], "group": 1, "dilations": [1, 1]}
    add_op(net, "Conv", inputs=["4", PREDICTOR], outputs=["sem_seg"], args=window)
    weights = {
        "1": MEAN[:, None, None],
        "2": STD[:, None, None],
        "_wrapped_model.sem_seg_head.predictor.weight": KERNEL,
    }
    found = {"bbox_nms": BOXES, "score_nms": SCORES, "class_nms": CLASSES, "mask_fcn_probs": MASKS}
    for number, (name, array) in enumerate(found.items()):
        weights[f"{number + 5}"] = array
        add_op(net, "Copy", inputs=[f"{number + 5}"], outputs=[name], args={})
    for name, array in weights.items():
        args = {"values": np.ascontiguousarray(array).ravel(), "shape": list(array.shape)}
        add_op(init, "GivenTensorFill", inputs=[], outputs=[name], args=args)
    net.external_input.extend(["data", "im_info", *weights])
    net.external_output.extend([*found, "sem_seg"])
    init.external_output.extend(weights)
    about = {"size_divisibility": 16, "device": "cpu", "meta_architecture": "PanopticFPN", **COMBINE}
    for name, value in about.items():
        set_arg(net.arg.add(name=name), value)
    return net, init


def write(folder: Path, net: Any, init: Any) -> Path:
    """Both files."""
    folder.mkdir()
    (folder / "model.pb").write_bytes(net.SerializeToString())
    (folder / "model_init.pb").write_bytes(init.SerializeToString())
    return folder


def convolved(image: np.ndarray) -> np.ndarray:
    """sem_seg of an image float32 [3,H,W], whose border the network sees as zeros."""
    padded = np.pad((image - MEAN[:, None, None]) / STD[:, None, None], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, KERNEL)


def without_arg(net: Any, name: str) -> None:
    net.arg.remove(next(arg for arg in net.arg if arg.name == name))


REFUSED = {
    "takes data, not data and im_info": lambda net: net.external_input.remove("im_info"),
    "takes data, im_info, proposals": lambda net: net.external_input.append("proposals"),
    "exported for a GPU, and": lambda net: set_arg(next(a for a in net.arg if a.name == "device"), "cuda"),
    "exported for a GPU": lambda net: setattr(net.op[0].device_option, "device_type", 1),
    "RetinaNet of detectron2's exporter": lambda net: net.external_output.append("box_cls_0"),
    "keypoints come from HeatmapMaxKeypoint": lambda net: net.external_output.append("keypoints_out"),
    "of which no result can be made": lambda net: net.external_output.remove("score_nms"),
    "gives nothing": lambda net: net.ClearField("external_output"),
    "does not say how instances": lambda net: without_arg(net, "combine_stuff_area_limit"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_run_is_said_before_it_is(message, tmp_path):
    net, init = panoptic_nets()
    REFUSED[message](net)
    with pytest.raises(ArtifactError, match=f"no manifest.json.*{message}.*Export the checkpoint with d2deploy"):
        Caffe2Model.load_protobuf(write(tmp_path / "old", net, init))


@pytest.mark.parametrize("name", ["model.pb", "model_init.pb"])
def test_a_missing_file(name, tmp_path):
    folder = write(tmp_path / "old", *panoptic_nets())
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        Caffe2Model.load_protobuf(folder)


def test_what_a_net_says_of_itself(tmp_path):
    foreign = read_foreign(*panoptic_nets(), tmp_path)
    assert foreign.one_by_one and foreign.fill == tuple(MEAN.tolist())
    assert foreign.spec.preprocess.size_divisor == 16
    assert foreign.spec.panoptic is not None and foreign.spec.panoptic.stuff_area == 4
    names = [tensor.name for tensor in foreign.spec.outputs]
    assert names == ["boxes", "scores", "classes", "image_index", "mask_probs", "sem_seg"]


@pytest.mark.usefixtures("runtime")
def test_a_panoptic_net_of_detectron2_s_kind(tmp_path):
    """Two images of different sizes; padded with the mean, which the network sees as zeros, as in training."""
    random = np.random.default_rng(1)
    images = [random.uniform(0, 255, size).astype(np.float32) for size in ((3, 20, 24), (3, 33, 17))]
    with Caffe2Model.load_protobuf(write(tmp_path / "old", *panoptic_nets())) as model:
        found = model([{"image": images[0], "height": 40, "width": 72}, {"image": images[1]}])
    (large, small) = found
    assert np.abs(small["sem_seg"] - convolved(images[1])).max() < 1e-3
    assert large["sem_seg"].shape == (3, 40, 72)
    assert large["instances"].scores.tolist() == [0.875, 0.75]
    assert np.allclose(large["instances"].pred_boxes, BOXES[::-1] * [3, 2, 3, 2])
    left, whole = small["instances"].pred_masks
    assert whole[1:3, 2:6].all() and not whole[4:].any() and left[4:8, 5:7].all() and not left[:, 9:].any()
    picture, segments = small["panoptic_seg"]
    assert segments[:2] == [
        {"id": 1, "isthing": True, "category_id": 0, "score": 0.875, "instance_id": 0},
        {"id": 2, "isthing": True, "category_id": 1, "score": 0.75, "instance_id": 1},
    ]
    stuff = {segment["category_id"]: segment for segment in segments[2:]}
    labels = convolved(images[1]).argmax(axis=0)
    for label, segment in stuff.items():
        assert segment == {"id": segment["id"], "isthing": False, "category_id": label, "area": segment["area"]}
        assert (labels[picture == segment["id"]] == label).all() and (picture == segment["id"]).sum() == segment["area"]
    assert set(stuff) == {1, 2}


@pytest.mark.usefixtures("runtime")
def test_the_demo_s_nets_without_their_manifest(artifact, tmp_path, inputs):
    """Of d2deploy's own nets nothing is missed: they say whose each detection is, and run as one batch."""
    bare = shutil.copytree(artifact.path, tmp_path / "bare", ignore=shutil.ignore_patterns(MANIFEST))
    batch = inputs(2)
    with Caffe2Model(artifact.path) as known, Caffe2Model(bare) as unknown:
        pairs = list(zip(known(batch), unknown(batch), strict=True))
        assert not unknown._one_by_one
    for ours, theirs in ((a["instances"], b["instances"]) for a, b in pairs):
        assert len(ours) > 5 and (ours.pred_boxes == theirs.pred_boxes).all()
        assert (ours.pred_masks == theirs.pred_masks).all() and (ours.pred_classes == theirs.pred_classes).all()


def test_its_picture(tmp_path):
    """Parts by the names of weights, where operators have none."""
    model = Caffe2Model(write(tmp_path / "old", *panoptic_nets()))
    model.save_graph(tmp_path / "old.svg")
    text = Path(tmp_path / "old.svg").read_text()
    assert ">sem_seg_head</text>" in text and ">detections</text>" in text and "81 weights" in text
