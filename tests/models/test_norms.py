"""Norms by name, and a RetinaNet whose levels have statistics of their own."""

import pytest
import torch

from d2deploy.config.yacs.model import model_config
from d2deploy.config.zoo import config_of
from d2deploy.models.build import build_model
from d2deploy.models.norm import NORMS, make_norm
from d2deploy.models.tower import LevelNorm, Tower

STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
# What each norm leaves in a checkpoint (detectron2 layers/batch_norm.py).
NAMES = {
    "FrozenBN": {"weight", "bias", "running_mean", "running_var"},
    **{name: {"weight", "bias", *STATISTICS} for name in ("BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")},
    "GN": {"weight", "bias"},
    "LN": {"weight", "bias"},
}


@pytest.mark.parametrize("name", NORMS)
def test_names(name: str) -> None:
    norm = make_norm(name, 64)
    assert norm is not None
    assert norm.state_dict().keys() == NAMES[name]
    assert norm.eval()(torch.zeros(2, 64, 3, 1)).shape == (2, 64, 3, 1)


def test_layer_norm_is_over_the_channels_of_a_cell() -> None:
    norm = make_norm("LN", 2)
    assert norm is not None
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])
    # Cell by cell: 3 and 5 are one below and one above their mean, so are 0 and 0.002 in standard deviations.
    x = torch.tensor([[[[3.0, 0.0]], [[5.0, 0.002]]]])
    small = 1e-3 / (1e-6 + 1e-6) ** 0.5  # eps is as large as the variance
    expected = torch.tensor([[[[-1.0, -small]], [[3.0, 1 + 2 * small]]]])
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=0)


def test_groups_of_one_value_become_the_bias() -> None:
    """A map of one cell has them where there are as many channels as groups; torch's own GroupNorm refuses it."""
    norm = make_norm("GN", 32)
    assert norm is not None
    norm.bias.data = torch.arange(32.0)
    x = torch.randn(1, 32, 1, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x).flatten(), norm.bias, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.jit.script(norm)(x).flatten(), norm.bias, atol=1e-4, rtol=0)
    y = torch.randn(3, 64, 5, 1, generator=torch.Generator().manual_seed(0))
    wide = make_norm("GN", 64)
    assert wide is not None
    torch.testing.assert_close(wide(y), torch.nn.GroupNorm(32, 64)(y))


def retinanet(norm: str) -> torch.nn.Module:
    config = config_of("COCO-Detection/retinanet_R_50_FPN_1x", ["MODEL.RETINANET.NORM", norm])
    with torch.device("meta"):
        return build_model(model_config(config))


@pytest.mark.parametrize("norm", ["", *NORMS])
def test_names_of_a_retinanet(norm: str) -> None:
    """Places count ReLU, so a norm moves what comes after it; BN and SyncBN have a child for each of five levels."""
    shapes = {name: list(tensor.shape) for name, tensor in retinanet(norm).state_dict().items()}
    for tower in ("head.cls_subnet", "head.bbox_subnet"):
        names = {name.removeprefix(f"{tower}."): shape for name, shape in shapes.items() if name.startswith(tower)}
        step = 3 if norm else 2
        convs = {f"{place}.weight": [256, 256, 3, 3] for place in range(0, 4 * step, step)}
        convs |= {f"{place}.bias": [256] for place in range(0, 4 * step, step)}
        places = range(1, 12, 3) if norm else range(0)
        if norm in ("BN", "SyncBN"):
            own = {f"{level}.{name}" for level in range(5) for name in STATISTICS} | {"weight", "bias"}
        else:
            own = NAMES.get(norm, set())
        norms = {f"{place}.{name}": [] if name.endswith("tracked") else [256] for place in places for name in own}
        assert names == convs | norms


def test_each_level_has_its_statistics() -> None:
    norm = LevelNorm(1, levels=2).eval()
    norm.weight.data, norm.bias.data = torch.tensor([3.0]), torch.tensor([0.5])
    tensors = norm.state_dict()
    for level, (mean, variance) in enumerate([(1.0, 4.0), (-2.0, 0.25)]):
        tensors[f"{level}.running_mean"].fill_(mean)
        tensors[f"{level}.running_var"].fill_(variance)
    x = torch.tensor([[[[5.0]]]])
    for compiled in (norm, torch.jit.script(norm)):
        assert compiled(x, 0).item() == pytest.approx(3 * (5 - 1) / 2 + 0.5, abs=1e-4)
        assert compiled(x, 1).item() == pytest.approx(3 * (5 + 2) / 0.5 + 0.5, abs=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("norm", ["", "BN", "FrozenBN", "GN", "LN"])
def test_a_tower_is_what_its_places_say(norm: str) -> None:
    """Convolution, norm, ReLU one after the other, each found by its name."""
    torch.manual_seed(0)
    tower = Tower(32, (64, 32), norm=norm, levels=3).eval()
    for name, tensor in tower.state_dict().items():
        tensor.copy_(torch.rand_like(tensor.float()) if "var" in name else torch.randn_like(tensor.float()) * 0.2)
    parts = dict(tower.named_children())
    x = torch.randn(1, 32, 5, 4)
    for level in range(3):
        expected = x
        for place in range(0, 6, 3) if norm else range(0, 4, 2):
            expected = parts[str(place)](expected)
            if norm == "BN":
                expected = parts[str(place + 1)](expected, level)
            elif norm:
                expected = parts[str(place + 1)](expected)
            expected = expected.relu()
        torch.testing.assert_close(tower(x, level), expected)
        torch.testing.assert_close(torch.jit.script(tower)(x, level), expected)
    assert tower.out_channels == 32
