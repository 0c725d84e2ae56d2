"""HRNet: branches of strides 4, 8, 16, ... side by side, fused again and again (projects/DensePose, hrnet.py).

Modules are numbered as in the checkpoint, where a branch that is taken over unchanged has a number, too.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.config.schema.hrnet import BOTTLENECK_EXPANSION as _EXPANSION
from d2deploy.ops.crop import Crop

# Convolution -> the norm after it, wherever a module of this file has both. Exports merge them.
BESIDE = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "0": "1"}
_STEM = 64  # channels
_STAGE1 = (64, 4)  # planes and number of its bottlenecks


class ConvNorm(nn.Sequential):
    """A convolution without bias, its batch norm, and ReLU where `relu`."""

    norm_beside = BESIDE

    def __init__(self, before: int, after: int, *, size: int, stride: int = 1, relu: bool = False) -> None:
        super().__init__(_conv(before, after, size, stride=stride), nn.BatchNorm2d(after))
        if relu:
            self.append(nn.ReLU(inplace=True))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    norm_beside = BESIDE

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        inside = nn.functional.relu_(self.bn1(self.conv1(x)))
        return nn.functional.relu_(self.bn2(self.conv2(inside)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `inside` channels in the middle, four times as many after it."""

    norm_beside = BESIDE

    def __init__(self, before: int, inside: int) -> None:
        super().__init__()
        after = inside * _EXPANSION
        self.conv1 = _conv(before, inside, 1)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = _conv(inside, inside, 3)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = _conv(inside, after, 1)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = None if before == after else ConvNorm(before, after, size=1)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,before,H,W] -> [N,4*inside,H,W]."""
        out = nn.functional.relu_(self.bn1(self.conv1(x)))
        out = nn.functional.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            x = self.downsample(x)
        return nn.functional.relu_(out + x)


class Kept(nn.Module):
    """A branch as it is."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """x[N,C,H,W], like: the same -> x."""
        return x


class Enlarged(ConvNorm):
    """A coarser branch with the channels of a finer one, each cell as `factor` x `factor`, cut to the finer's size."""

    def __init__(self, before: int, after: int, *, factor: int) -> None:
        super().__init__(before, after, size=1)
        self.factor = float(factor)
        self.crop = Crop()

    def forward(self, x: Tensor, like: Tensor) -> Tensor:  # type: ignore[override]
        """x[N,before,H/factor,W/factor], rounded up, like[N,after,H,W] -> [N,after,H,W]."""
        return self.crop(nn.functional.interpolate(self[1](self[0](x)), scale_factor=self.factor), like)


class Reduced(nn.Sequential):
    """A finer branch by 3x3 convolutions of stride 2, the last one to the channels of a coarser branch."""

    def __init__(self, before: int, after: int, *, steps: int) -> None:
        last = ConvNorm(before, after, size=3, stride=2)
        super().__init__(*(ConvNorm(before, before, size=3, stride=2, relu=True) for _ in range(steps - 1)), last)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:  # type: ignore[override]
        """x[N,before,H*2**steps,W*2**steps], like[N,after,H,W] -> [N,after,H,W]."""
        for layer in self:
            x = layer(x)
        return x


class Sum(nn.ModuleList):
    """All branches, brought to size and channels of one of them, added up."""

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__(_fused(widths, source, target) for source in range(len(widths)))

    def forward(self, branches: list[Tensor], like: Tensor) -> Tensor:
        """One [N,C,H,W] a branch, and the one of them to be like -> its shape."""
        parts: list[Tensor] = []
        for i, layer in enumerate(self):
            parts.append(layer(branches[i], like))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return nn.functional.relu(total)


class HighResolutionModule(nn.Module):
    """Blocks in each branch, then every branch becomes the sum of all."""

    def __init__(self, config: schema.HRStage) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _branch(config.block, count, channels)
            for count, channels in zip(config.blocks, config.channels, strict=True)
        )
        self.fuse_layers = nn.ModuleList(Sum(config.widths, target) for target in range(len(config.widths)))

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """One [N,C,H,W] a branch -> the same shapes."""
        branches: list[Tensor] = []
        for i, branch in enumerate(self.branches):
            branches.append(branch(x[i]))
        fused: list[Tensor] = []
        for i, fuse in enumerate(self.fuse_layers):
            fused.append(fuse(branches, branches[i]))
        return fused


class Stage(nn.ModuleList):
    """Modules one after the other."""

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """One [N,C,H,W] a branch -> the same shapes."""
        for module in self:
            x = module(x)
        return x


class Transition(nn.ModuleList):
    """From the branches of one stage to those of the next, with their channels; new ones come of the coarsest."""

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        count = len(before)
        super().__init__(
            nn.Identity() if i < count and before[i] == width else _change(before[-1], width, steps=i + 1 - count)
            for i, width in enumerate(after)
        )
        self.sources = [min(i, count - 1) for i in range(len(after))]

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """One [N,C,H,W] a branch before -> one a branch after."""
        branches: list[Tensor] = []
        for i, layer in enumerate(self):
            branches.append(layer(x[self.sources[i]]))
        return branches


class HRNet(nn.Module):
    """A stem of stride 4, stage 1 with a single branch, then stages with more and more of them."""

    norm_beside = BESIDE

    def __init__(self, config: schema.HRNet, *, in_channels: int) -> None:
        super().__init__()
        planes, count = _STAGE1
        stages, widths = config.stages, [(planes * _EXPANSION,), *(stage.widths for stage in config.stages)]
        self.conv1 = _conv(in_channels, _STEM, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.conv2 = _conv(_STEM, _STEM, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(_STEM)
        self.layer1 = nn.Sequential(*(Bottleneck(planes * _EXPANSION if i else _STEM, planes) for i in range(count)))
        self.transition1 = Transition(widths[0], widths[1])
        self.stage2 = _stage(stages[0])
        self.transition2 = Transition(widths[1], widths[2])
        self.stage3 = _stage(stages[1])
        self.transition3 = Transition(widths[2], widths[3])
        self.stage4 = _stage(stages[2])
        self.branch_channels = widths[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """x[N,3,H,W] -> [N,C,H/4,W/4], [N,C,H/8,W/8], ..., one a branch of the last stage, sizes rounded up."""
        x = nn.functional.relu_(self.bn1(self.conv1(x)))
        x = nn.functional.relu_(self.bn2(self.conv2(x)))
        branches = self.stage2(self.transition1([self.layer1(x)]))
        branches = self.stage3(self.transition2(branches))
        return self.stage4(self.transition3(branches))


def _conv(before: int, after: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)


def _branch(block: str, count: int, channels: int) -> nn.Sequential:
    if block == "BOTTLENECK":
        return nn.Sequential(*(Bottleneck(channels * _EXPANSION, channels) for _ in range(count)))
    return nn.Sequential(*(BasicBlock(channels) for _ in range(count)))


def _fused(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """What brings the branch `source` to size and channels of the branch `target`."""
    if source == target:
        return Kept()
    before, after = widths[source], widths[target]
    if source > target:
        return Enlarged(before, after, factor=2 ** (source - target))
    return Reduced(before, after, steps=target - source)


def _change(before: int, after: int, *, steps: int) -> nn.Module:
    """Other channels, at half the size for each step."""
    if steps < 1:
        return ConvNorm(before, after, size=3, relu=True)
    same = (ConvNorm(before, before, size=3, stride=2, relu=True) for _ in range(steps - 1))
    return nn.Sequential(*same, ConvNorm(before, after, size=3, stride=2, relu=True))


def _stage(config: schema.HRStage) -> Stage:
    return Stage(HighResolutionModule(config) for _ in range(config.modules))
