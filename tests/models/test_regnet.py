"""RegNet's blocks, value by value, its names in pycls's checkpoints, and its norms merged for export."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import fold_norms
from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.models.build import build_model
from d2deploy.models.regnet import RegNet
from d2deploy.weights.match import load_weights
from d2deploy.weights.read import read_checkpoint


def network(**changes: Any) -> RegNet:
    """A small one with random weights and statistics."""
    config = schema.RegNet(
        **{
            "stem": "SimpleStem",
            "stem_width": 8,
            "block": "ResBottleneckBlock",
            "depths": (1, 2),
            "widths": (8, 16),
            "strides": (2, 2),
            "group_widths": (4, 8),
            "bottleneck_ratios": (1.0, 0.5),
            "se_ratio": 0.25,
            "norm": "BN",
            "freeze_at": 0,
            "out_features": ("stem", "s1", "s2"),
            **changes,
        }
    )
    torch.manual_seed(0)
    made = RegNet(config, in_channels=3).eval().requires_grad_(False)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else torch.randn_like(tensor) * 0.3)
    return made


class Definition:
    """The blocks as their paper draws them, on the tensors of a state dict."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def conv(self, x: Tensor, name: str, norm: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        x = nn.functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups)
        mean, variance, weight, bias = (
            self.tensors[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def se(self, x: Tensor, name: str) -> Tensor:
        weights = x.mean(dim=(2, 3))
        for place, activation in ((0, torch.relu), (2, torch.sigmoid)):
            weight, bias = self.tensors[f"{name}.f_ex.{place}.weight"], self.tensors[f"{name}.f_ex.{place}.bias"]
            weights = activation(weights @ weight[:, :, 0, 0].T + bias)
        return x * weights[:, :, None, None]

    def around(self, x: Tensor, name: str, inside: Tensor, stride: int) -> Tensor:
        if f"{name}.proj.weight" in self.tensors:
            x = self.conv(x, f"{name}.proj", f"{name}.bn", stride=stride)
        return (x + inside).relu()

    def bottleneck(self, x: Tensor, name: str, *, stride: int, groups: int) -> Tensor:
        f = f"{name}.f"
        inside = self.conv(x, f"{f}.a", f"{f}.a_bn").relu()
        inside = self.conv(inside, f"{f}.b", f"{f}.b_bn", stride=stride, groups=groups).relu()
        if f"{f}.se.f_ex.0.weight" in self.tensors:
            inside = self.se(inside, f"{f}.se")
        return self.around(x, name, self.conv(inside, f"{f}.c", f"{f}.c_bn"), stride)

    def basic(self, x: Tensor, name: str, *, stride: int, groups: int) -> Tensor:
        inside = self.conv(x, f"{name}.f.a", f"{name}.f.a_bn", stride=stride).relu()
        return self.around(x, name, self.conv(inside, f"{name}.f.b", f"{name}.f.b_bn"), stride)

    def vanilla(self, x: Tensor, name: str, *, stride: int, groups: int) -> Tensor:
        x = self.conv(x, f"{name}.a", f"{name}.a_bn", stride=stride).relu()
        return self.conv(x, f"{name}.b", f"{name}.b_bn").relu()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Y": ("bottleneck", {}),
    "X": ("bottleneck", {"se_ratio": 0.0}),
    "stem of stride 4": ("bottleneck", {"stem": "ResStem"}),
    "basic": ("basic", {"block": "ResBasicBlock"}),
    "vanilla": ("vanilla", {"block": "VanillaBlock"}),
    "frozen": ("bottleneck", {"freeze_at": 2}),
}


@pytest.mark.parametrize(("block", "changes"), CASES.values(), ids=CASES)
def test_equals_definition(block: str, changes: dict[str, Any]) -> None:
    net = network(**changes)
    definition = Definition(net.state_dict())
    x = torch.randn(2, 3, 37, 22)
    features = net(x)
    expected = definition.conv(x, "stem.conv", "stem.bn", stride=2).relu()
    if changes.get("stem") == "ResStem":
        expected = nn.functional.max_pool2d(expected, 3, stride=2, padding=1)
    torch.testing.assert_close(features["stem"], expected)
    step = getattr(definition, block)
    expected = step(expected, "s1.b1", stride=2, groups=2)
    torch.testing.assert_close(features["s1"], expected, atol=1e-5, rtol=1e-4)
    expected = step(step(expected, "s2.b1", stride=2, groups=1), "s2.b2", stride=1, groups=1)
    torch.testing.assert_close(features["s2"], expected, atol=1e-5, rtol=1e-4)
    first = 4 if "stem" in changes else 2
    assert net.out_strides == {"stem": first, "s1": first * 2, "s2": first * 4}
    assert net.out_channels == {"stem": 8, "s1": 8, "s2": 16}


def test_norms_merge_into_the_convolutions_beside_them() -> None:
    net, x = network(), torch.randn(1, 3, 32, 32)
    expected = net(x)
    folded = fold_norms(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for level, feature in folded(x).items():
        torch.testing.assert_close(feature, expected[level], atol=1e-5, rtol=1e-4)


def test_frozen_stages_have_no_counters() -> None:
    names = network(freeze_at=2).state_dict().keys()
    counters = {name for name in names if name.endswith("num_batches_tracked")}
    assert counters and all(name.startswith("s2.") for name in counters)


def test_a_checkpoint_of_pycls_fits_the_backbone(tmp_path: Path) -> None:
    """Its names begin at the backbone, and it has counters and a classifier; what is left missing is the detector."""
    config = read_model_config("COCO-InstanceSegmentation/mask_rcnn_regnety_4gf_dds_fpn_1x.py")
    with torch.device("meta"):
        core = build_model(config)
    prefix = "backbone.bottom_up."
    own = [name for name in core.state_dict() if name.startswith(prefix)]
    tensors = {name.removeprefix(prefix): torch.ones(core.state_dict()[name].shape) for name in own}
    tensors |= {
        f"{name.removesuffix('mean')}.num_batches_tracked": torch.ones(()) for name in tensors if "mean" in name
    }
    tensors |= {"head.fc.weight": torch.ones(1000, 1088), "head.fc.bias": torch.ones(1000)}
    torch.save({"epoch": 100, "model_state": tensors}, tmp_path / "RegNetY-4.0GF_dds_8gpu.pyth")
    report = load_weights(core, read_checkpoint(tmp_path / "RegNetY-4.0GF_dds_8gpu.pyth"))
    assert set(report.loaded) == set(own)
    assert not report.unexpected and not report.misshaped
    assert report.missing and not any(name.startswith(prefix) for name in report.missing)
