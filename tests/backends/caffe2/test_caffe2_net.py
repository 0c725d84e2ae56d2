"""The nets as they are written: names, order, weights, arguments. Needs no runtime."""

import copy
import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec
from d2deploy.backends.caffe2 import check_size, export, to_nets
from d2deploy.backends.caffe2.check import faults
from d2deploy.backends.caffe2.messages import arg_value
from d2deploy.backends.padded import padded
from d2deploy.errors import ExportError, MissingExtra, UnsupportedOps
from d2deploy.runner import open_runner
from d2deploy.workflows import export as workflow


def test_a_net_without_faults(nets):
    assert faults(*nets) == []


def test_inputs_and_outputs_are_detectron2_s(nets):
    net, init = nets
    assert list(net.external_input[:2]) == ["data", "im_info"]
    outputs = ["bbox_nms", "score_nms", "class_nms", "roi_batch_splits_nms", "mask_fcn_probs"]
    assert list(net.external_output) == outputs
    assert list(net.external_input[2:]) == list(init.external_output)
    args = {arg.name: arg_value(arg) for arg in net.arg}
    assert {"size_divisibility": 32, "device": b"cpu", "meta_architecture": b"GeneralizedRCNN"}.items() <= args.items()
    assert args["score_threshold"] == pytest.approx(0.05) and args["max_detections_per_image"] == 100


def test_names_are_the_modules(nets):
    net, init = nets
    blobs = {name for op in net.op for name in op.output}
    assert {"backbone.bottom_up.res4.2.conv1", "roi_heads.box_head.fc1", "roi_heads.mask_head.deconv"} <= blobs
    assert "backbone.bottom_up.res4.2.conv1.weight" in init.external_output
    assert not [name for name in blobs if name.isdigit()]


def test_weights_are_there_once_and_norms_folded(nets, model):
    _, init = nets
    sizes = Counter({op.output[0]: len(next(a for a in op.arg if a.name == "values").floats) for op in init.op})
    named = {name: tensor.numel() for name, tensor in model.core.named_parameters() if ".norm." not in name}
    assert {name: sizes[name] for name in named if name in sizes} == {k: v for k, v in named.items() if k in sizes}
    assert sum(sizes.values()) < 1.02 * sum(named.values())


def test_no_more_work_than_detectron2_s_net(nets):
    """Its export of mask_rcnn_R_50_FPN has 2 Conv and Relu more, for the demo has 2 mask_fcn, and none in place."""
    net, _ = nets
    found = Counter(op.type for op in net.op)
    theirs = {"Conv": 79, "FC": 4, "RoIAlign": 8, "Relu": 59, "ConvTranspose": 1, "GenerateProposals": 5}
    theirs |= {"BBoxTransform": 1, "BoxWithNMSLimit": 1, "DistributeFpnProposals": 2, "BatchPermutation": 2}
    theirs |= {"MaxPool": 2, "ResizeNearest": 3, "Softmax": 1, "Sigmoid": 1}
    assert {kind: found[kind] for kind in theirs} == theirs
    assert sum(op.type == "Add" for op in net.op if op.name.startswith("backbone")) == 19
    assert all(list(op.input) == list(op.output) for op in net.op if op.type == "Relu")


def damaged(net: Any, init: Any, how: str) -> None:
    def first(kind: str) -> Any:
        return next(op for op in net.op if op.type == kind)

    {
        "type": lambda: setattr(first("Conv"), "type", "Convolution"),
        "order": lambda: net.op.insert(0, net.op.pop()),
        "twice": lambda: net.op.append(first("Conv")),
        "output": lambda: net.external_output.append("nothing"),
        "inputs": lambda: net.external_input.__setitem__(0, "image"),
        "kind": lambda: setattr(first("GenerateProposals").arg[0], "s", b"x"),
        "left out": lambda: first("BoxWithNMSLimit").arg.pop(),
        "shape": lambda: next(a for a in init.op[0].arg if a.name == "shape").ints.append(2),
        "fill": lambda: setattr(init.op[0], "type", "XavierFill"),
        "weights": lambda: init.external_output.pop(),
    }[how]()


@pytest.mark.parametrize(
    ("how", "message"),
    {
        "type": "Convolution is an operator that d2deploy does not know",
        "order": "which nothing before it makes",
        "twice": "which is made before it",
        "output": "the output nothing is not made",
        "inputs": "the inputs are image",
        "kind": "has the argument spatial_scale",
        "left out": "lacks the argument legacy_plus_one",
        "shape": "has not as many numbers as its shape",
        "fill": "is filled by XavierFill",
        "weights": "not those that it names",
    }.items(),
)
def test_faults_are_found(how, message, nets):
    net, init = nets
    damaged(net, init, how)
    assert message in "; ".join(faults(*nets))


class Strange(nn.Module):
    """Operations that Caffe2 lacks, in two places."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x).abs() + torch.erfinv(x)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.strange, self.stranger = nn.Conv2d(3, 3, 3), Strange(), Strange()

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        return [self.stranger(self.strange(self.conv(images)))]


def exportable(core: nn.Module, *, channels: int = 3) -> Any:
    spec = ModelSpec(
        meta_architecture="Own",
        inputs=(
            TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32"),
            TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
        ),
        outputs=(TensorSpec(name="sem_seg", shape=("N", channels, "H", "W"), dtype="float32"),),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=32, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=None,
        num_classes=0,
        class_names=(),
    )
    return SimpleNamespace(core=core.eval(), spec=spec, source={})


def test_everything_that_is_missing_is_said_at_once():
    with pytest.raises(UnsupportedOps) as refused:
        to_nets(exportable(Network()))
    message = str(refused.value)
    assert "erfinv.default: strange.erfinv and 1 more" in message
    assert "fft_fft2.default: strange.fft_fft2 and 1 more" in message
    assert "conv2d" not in message


class OwnBackbone(nn.Module):
    """A user's: d2deploy's with two operations before it that Caffe2 lacks."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.strange, self.backbone = Strange(), backbone

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.backbone(self.strange(x))
        return features


def test_everything_that_a_detector_s_own_backbone_lacks_is_said_at_once(model, tmp_path):
    core = copy.copy(model.core)
    core._modules = dict(model.core._modules, backbone=OwnBackbone(model.core.backbone))
    with pytest.raises(UnsupportedOps) as refused:
        workflow.export(dataclasses.replace(model, core=core), "caffe2", tmp_path / "out")
    message = str(refused.value)
    assert "erfinv.default: backbone.strange.erfinv" in message and "fft_fft2.default: backbone.strange" in message
    assert not (tmp_path / "out").exists()


def test_more_than_a_file_holds_is_refused(model):
    with pytest.raises(ExportError, match=r"weights have 0\.\d+ GB, and a Caffe2 file holds 0\.001"):
        check_size(model.core, most=1_000_000)


def test_other_contracts_are_refused(model, tmp_path):
    with pytest.raises(ExportError, match="gives num_detections"):
        export(padded(model), tmp_path)


def test_without_the_runtime(model, tmp_path, monkeypatch):
    """The nets are written and checked; what was not proven is said, and running says what is missing."""
    monkeypatch.delenv("D2DEPLOY_CAFFE2_PYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    artifact = workflow.export(model, "caffe2", tmp_path / "out")
    assert artifact.manifest.verification is None
    assert "the structure only" in str(artifact)
    with pytest.raises(MissingExtra, match="d2deploy caffe2-runtime --python"):
        open_runner(artifact)
    monkeypatch.setenv("D2DEPLOY_CAFFE2_PYTHON", str(tmp_path / "none"))
    with pytest.raises(MissingExtra, match="which is no file"):
        open_runner(artifact)
