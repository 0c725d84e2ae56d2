"""Single layers in the real Caffe2, where no family of tests/matrix has what matters about them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec
from d2deploy.backends.caffe2 import to_nets
from d2deploy.backends.caffe2.client import Worker
from d2deploy.backends.caffe2.runner import blobs_of
from d2deploy.models.deform_conv import DeformConv
from d2deploy.models.norm import GroupNorm, LayerNorm

SPEC = ModelSpec(
    meta_architecture="Own",
    inputs=(
        TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32"),
        TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
    ),
    outputs=(TensorSpec(name="sem_seg", shape=("N", "C", "H", "W"), dtype="float32"),),
    preprocess=Preprocess(
        min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=None,
    num_classes=0,
    class_names=(),
)


class Deformable(nn.Module):
    """As in ResNeXt: groups of weights, and of offsets; steps of two, taps apart."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.offset = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 54, 3, stride=2, padding=2, dilation=2)
        self.deform = DeformConv(16, stride=2, dilation=2, groups=4, deform_groups=2, norm="")
        nn.init.normal_(self.deform.weight)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        x = self.enter(images / 255)
        moves = self.offset(x) * 3
        return [self.deform(x, moves[:, :36], moves[:, 36:].sigmoid())]


class Normed(nn.Module):
    """Numbers that are large beside what they differ by, in groups of one channel and of several."""

    def __init__(self, norm: nn.Module, channels: int) -> None:
        super().__init__()
        self.enter, self.norm = nn.Conv2d(3, channels, 1), norm

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        return [self.norm(self.enter(images / 255) + 30)]


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "deformable": Deformable,
    "layer norm": lambda: Normed(LayerNorm(32), 32),
    "group norm": lambda: Normed(GroupNorm(64), 64),
    "group norm of single channels": lambda: Normed(GroupNorm(32), 32),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_gives_what_it_gives_in_the_network(layer: str, runtime: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    core = LAYERS[layer]().eval().requires_grad_(False)
    nets = to_nets(SimpleNamespace(core=core, spec=SPEC, source={}))
    for name, net in (("net", nets.net), ("init", nets.init)):
        (tmp_path / name).write_bytes(net.SerializeToString())
    worker = Worker(runtime)
    try:
        name = worker.load(tmp_path / "init", tmp_path / "net", ["data", "im_info"])
        for shape in ((1, 3, 21, 34), (3, 3, 8, 9)):
            images, sizes = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32), np.array([[8, 9]])
            (theirs,) = core(torch.from_numpy(images), torch.from_numpy(sizes))
            ours = worker.run(name, blobs_of(images, np.repeat(sizes, shape[0], axis=0)), ["sem_seg"])["sem_seg"]
            worst, largest = float(np.abs(ours - theirs.numpy()).max()), float(theirs.abs().max())
            assert worst <= 2e-4 * largest
    finally:
        worker.close()
