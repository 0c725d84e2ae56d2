"""One branch of a TridentNet against its definition, written out with torch.nn.functional alone."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from d2deploy.config.model import read_model_config
from d2deploy.models.backbone import build_backbone

NAME = "TridentNet/tridentnet_fast_R_50_C4_1x"
DILATIONS = (3, 1, 5)
SMALL = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4"],
    "MODEL.TRIDENT.BRANCH_DILATIONS": list(DILATIONS),
}


@pytest.mark.parametrize("stride_in_1x1", [True, False])
@pytest.mark.parametrize("branch", range(3))
@pytest.mark.parametrize("stage", ["res3", "res4"])
def test_a_branch_has_its_dilation(branch: int, stage: str, stride_in_1x1: bool) -> None:
    before = {"res3": "res2", "res4": "res3"}[stage]
    features, weights = run(
        {
            "MODEL.TRIDENT.TEST_BRANCH_IDX": branch,
            "MODEL.TRIDENT.TRIDENT_STAGE": stage,
            "MODEL.RESNETS.STRIDE_IN_1X1": stride_in_1x1,
        }
    )
    close = [
        is_close(features[stage], stage_of(weights, stage, features[before], dilation, stride_in_1x1=stride_in_1x1))
        for dilation in DILATIONS
    ]
    assert close == [dilation == DILATIONS[branch] for dilation in DILATIONS]
    if stage == "res3":  # what follows is plain
        assert is_close(features["res4"], stage_of(weights, "res4", features["res3"], 1, stride_in_1x1=stride_in_1x1))


def run(changes: dict[str, object]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Feature levels of a small backbone with random weights on noise, all float64; the weights."""
    overrides = [text for key, value in {**SMALL, **changes}.items() for text in (key, str(value))]
    config = read_model_config(NAME, overrides)
    assert config.backbone is not None
    torch.manual_seed(3)
    backbone = build_backbone(config.backbone, in_channels=3).double().eval()
    weights = backbone.state_dict()
    with torch.no_grad():
        for tensor in weights.values():
            tensor.copy_(random_like(tensor))
        return backbone(torch.randn(2, 3, 150, 190, dtype=torch.float64)), weights


def random_like(tensor: Tensor) -> Tensor:
    """Convolutions that keep the size of what goes through them; norms near 1."""
    if tensor.dim() == 4:
        return torch.randn_like(tensor) * (2 / tensor[0].numel()) ** 0.5
    return torch.rand_like(tensor) / 2 + 0.75


def stage_of(weights: dict[str, Tensor], stage: str, x: Tensor, dilation: int, *, stride_in_1x1: bool) -> Tensor:
    """The definition: bottleneck blocks, the first of stride 2, all their 3x3 convolutions with `dilation`."""
    blocks = sorted({int(key.split(".")[1]) for key in weights if key.startswith(f"{stage}.")})
    for index in blocks:
        prefix, stride = f"{stage}.{index}", 2 if index == 0 else 1
        stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
        hidden = normed(weights, f"{prefix}.conv1", x, stride=stride1).relu()
        hidden = normed(weights, f"{prefix}.conv2", hidden, stride=stride2, dilation=dilation, padding=dilation).relu()
        shortcut = normed(weights, f"{prefix}.shortcut", x, stride=stride) if index == 0 else x
        x = (normed(weights, f"{prefix}.conv3", hidden) + shortcut).relu()
    return x


def normed(weights: dict[str, Tensor], name: str, x: Tensor, **numbers: int) -> Tensor:
    """A convolution without bias, and batch norm by its statistics."""
    x = functional.conv2d(x, weights[f"{name}.weight"], **numbers)  # type: ignore[call-overload]
    mean, variance, scale, shift = (
        weights[f"{name}.norm.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Equal to 1e-9 of the largest value, and of the same size. float64."""
    assert found.shape == expected.shape and expected.abs().max() > 0
    return bool((found - expected).abs().max() <= 1e-9 * expected.abs().max())
