"""ResNets of a LazyConfig -> schema. Facts: detectron2 modeling/backbone/resnet.py at 02b5c4e2."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.levels import Given, Level, check_equal, check_groups
from d2deploy.config.lazy.node import Call
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol
from d2deploy.errors import ConfigError

STAGES = ("res2", "res3", "res4", "res5")
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BASIC, _BOTTLENECK, _DEFORM = "BasicBlock", "BottleneckBlock", "DeformBottleneckBlock"
_STEM_CHANNELS = 64  # that make_default_stages goes on from


class _Blocks(NamedTuple):
    """What the blocks of a stage have in common, and with those of the other stages."""

    norm: str
    groups: int
    stride_in_1x1: bool
    modulated: bool
    deform_groups: int


class _Stage(NamedTuple):
    """One stage; `bottleneck`: channels of the 3x3 convolution, 0 in basic blocks."""

    where: str
    block: str
    num_blocks: int
    in_channels: int
    out_channels: int
    bottleneck: int
    stride: int  # of its first block; that of the others is 1
    dilation: int
    blocks: _Blocks


def resnet(call: Arguments, in_channels: int) -> Given:
    """ResNet(stem, stages, ...): stages of one make_default_stages, or of make_stage each."""
    stem_channels, stem_norm = _stem(call.call("stem", positional=("in_channels", "out_channels")), in_channels)
    stages = _stages(call)
    every = ("stem", *STAGES[: len(stages)])
    outputs = call.names("out_features", allowed=every) if call.has("out_features") else every[-1:]
    call.ignore("out_features")
    call.only("num_classes", None)
    stages = stages[: max(1, *map(every.index, outputs))]  # no more than are asked for
    check_equal(f"{stages[0].where}.norm", stages[0].blocks.norm, stem_norm, f"{call.where}.stem.norm")
    check_equal(f"{stages[0].where}.in_channels", stages[0].in_channels, stem_channels, f"{call.where}.stem")
    config = schema.ResNet(
        **_common(call.where, stages),
        stem_out_channels=stem_channels,
        out_features=outputs,
        freeze_at=call.whole("freeze_at", 0, least=0),
    )
    check_groups(call.where, config.norm, stem_channels, *(stage.out_channels for stage in stages))
    check_groups(call.where, config.norm, *(stage.bottleneck for stage in stages))
    levels = {"stem": Level(stem_channels, 4), **_levels(stages)}
    return Given(config, {name: level for name, level in levels.items() if name in outputs})


def res5_of(call: Arguments, *, in_channels: int) -> schema.ResNet:
    """make_stage as the box head of a C4 model: res5 of a ResNet of which no other stage is built."""
    stage = _made_stage(call)
    check_equal(f"{call.where}.in_channels", stage.in_channels, in_channels, "the backbone")
    call.done()
    depth = next((d for d, counts in BLOCKS.items() if counts[3] == stage.num_blocks and _fits(stage.block, d)), None)
    if depth is None or stage.stride != 2 or stage.dilation != 1 or stage.out_channels % 8 or stage.bottleneck % 8:
        raise ConfigError(f"{call.where} is no res5 of a ResNet of depth {', '.join(map(str, BLOCKS))} with stride 2.")
    check_groups(call.where, stage.blocks.norm, stage.out_channels, stage.bottleneck)
    return schema.ResNet(
        **_of_blocks(stage.blocks),
        depth=depth,
        width_per_group=max(stage.bottleneck // 8 // stage.blocks.groups, 1),
        stem_out_channels=_STEM_CHANNELS,
        res2_out_channels=stage.out_channels // 8,
        res5_dilation=1,
        out_features=("res5",),
        deform_on_per_stage=(False, False, False, stage.block == _DEFORM),
        freeze_at=0,
    )


def _stem(stem: Arguments, in_channels: int) -> tuple[int, str]:
    """Channels and norm of a BasicStem."""
    stem.must_be("BasicStem")
    check_equal(f"{stem.where}.in_channels", stem.whole("in_channels", 3), in_channels, "model.pixel_mean")
    found = stem.whole("out_channels", 64), stem.norm("norm", "BN")
    stem.done()
    return found


def _stages(call: Arguments) -> list[_Stage]:
    stages = call.any("stages")
    if isinstance(stages, Call):
        return _default_stages(Arguments(stages, f"{call.where}.stages", positional=("depth", "block_class")))
    if not isinstance(stages, list) or not 1 <= len(stages) <= len(STAGES):
        raise call.refused("stages", stages, "a call of make_default_stages, or a list of one to four make_stage")
    positional = ("block_class", "num_blocks", "first_stride")
    calls = [Arguments(s, f"{call.where}.stages.{i}", positional=positional) for i, s in enumerate(stages)]
    found = [_made_stage(stage) for stage in calls]
    for stage in calls:
        stage.done()
    return found


def _default_stages(call: Arguments) -> list[_Stage]:
    """make_default_stages(depth, block_class=None, **arguments of each block)."""
    call.must_be("ResNet.make_default_stages")
    depth = call.one_of("depth", tuple(BLOCKS))
    block = _block(call, "block_class", _BASIC if depth < 50 else _BOTTLENECK)
    if not _fits(block, depth):
        raise ConfigError(f"{call.where}.block_class is {block}, which a ResNet of depth {depth} does not have.")
    blocks, dilation = _blocks(call, block), call.whole("dilation", 1)
    call.done()
    found = []
    before, width = _STEM_CHANNELS, 64 if depth < 50 else 256
    for number, count in enumerate(BLOCKS[depth]):
        bottleneck = 0 if depth < 50 else width // 4
        stride = 1 if number == 0 else 2
        found.append(_Stage(call.where, block, count, before, width, bottleneck, stride, dilation, blocks))
        before, width = width, width * 2
    return found


def _made_stage(call: Arguments) -> _Stage:
    """make_stage(block_class, num_blocks, first_stride=None, *, in_channels, out_channels, **each block's)."""
    call.must_be("ResNet.make_stage", "make_stage")
    block, count = _block(call, "block_class"), call.whole("num_blocks")
    return _Stage(
        where=call.where,
        block=block,
        num_blocks=count,
        in_channels=call.whole("in_channels"),
        out_channels=call.whole("out_channels"),
        bottleneck=0 if block == _BASIC else call.whole("bottleneck_channels"),
        stride=_first_stride(call, count),
        dilation=1 if block == _BASIC else call.whole("dilation", 1),
        blocks=_blocks(call, block),
    )


def _first_stride(call: Arguments, count: int) -> int:
    """The stride of a stage's first block; the others must have 1."""
    if call.has("first_stride"):
        return call.whole("first_stride")
    call.ignore("first_stride")
    strides = (
        call.wholes("stride_per_block", None if not call.has("stride") else ())
        if call.has("stride_per_block")
        else None
    )
    if strides is None:
        strides = (call.whole("stride", 1),) * count
    if len(strides) != count or any(stride != 1 for stride in strides[1:]):
        raise call.refused("stride_per_block", list(strides), f"{count} numbers, all 1 but the first")
    return strides[0]


def _block(call: Arguments, name: str, default: str | None = None) -> str:
    value = call.any(name, None) if default else call.any(name)
    if value is None and default:
        return default
    block = short_name(value.name) if isinstance(value, Symbol) else None
    if block not in (_BASIC, _BOTTLENECK, _DEFORM):
        raise call.refused(name, value, f"one of {_BASIC}, {_BOTTLENECK}, {_DEFORM}")
    return block


def _blocks(call: Arguments, block: str) -> _Blocks:
    """The arguments that go to each block."""
    return _Blocks(
        norm=call.norm("norm", "BN"),
        groups=1 if block == _BASIC else call.whole("num_groups", 1),
        stride_in_1x1=block != _BASIC and call.flag("stride_in_1x1", False),
        modulated=block == _DEFORM and call.flag("deform_modulated", False),
        deform_groups=call.whole("deform_num_groups", 1) if block == _DEFORM else 1,
    )


def _fits(block: str, depth: int) -> bool:
    return (block == _BASIC) == (depth < 50)


def _of_blocks(blocks: _Blocks) -> dict[str, Any]:
    return {
        "norm": blocks.norm,
        "num_groups": blocks.groups,
        "stride_in_1x1": blocks.stride_in_1x1,
        "deform_modulated": blocks.modulated,
        "deform_num_groups": blocks.deform_groups,
    }


def _common(where: str, stages: Sequence[_Stage]) -> dict[str, Any]:
    """The fields of schema.ResNet that follow from its stages. Raises ConfigError: stages that no ResNet has so."""
    first = stages[0]
    for number, stage in enumerate(stages):
        source = f"a ResNet whose first stage is {first.where}"
        check_equal(f"{stage.where}.out_channels", stage.out_channels, first.out_channels << number, source)
        check_equal(f"{stage.where}.bottleneck_channels", stage.bottleneck, first.bottleneck << number, source)
        if number:
            check_equal(
                f"{stage.where}.in_channels", stage.in_channels, stages[number - 1].out_channels, "the one before"
            )
        is_dilated = number == 3 and stage.dilation == 2
        check_equal(f"{stage.where}.stride", stage.stride, 1 if number == 0 or is_dilated else 2, source)
        if not is_dilated:
            check_equal(f"{stage.where}.dilation", stage.dilation, 1, source)
    return {
        **_of_blocks(_shared(where, stages)),
        "depth": _depth(where, stages),
        "width_per_group": max(first.bottleneck // first.blocks.groups, 1),
        "res2_out_channels": first.out_channels,
        "res5_dilation": stages[3].dilation if len(stages) == 4 else 1,
        "deform_on_per_stage": tuple(i < len(stages) and stages[i].block == _DEFORM for i in range(4)),
    }


def _shared(where: str, stages: Sequence[_Stage]) -> _Blocks:
    """What all blocks have in common; what only deformable ones have, from these."""
    deformable = next((stage.blocks for stage in stages if stage.block == _DEFORM), stages[0].blocks)
    shared = stages[0].blocks._replace(modulated=deformable.modulated, deform_groups=deformable.deform_groups)
    for stage in stages:
        own = stage.blocks
        if stage.block != _DEFORM:
            own = own._replace(modulated=shared.modulated, deform_groups=shared.deform_groups)
        for name, value in own._asdict().items():
            check_equal(f"{stage.where}.{name}", value, getattr(shared, name), f"another stage of {where}")
    return shared


def _depth(where: str, stages: Sequence[_Stage]) -> int:
    counts = tuple(stage.num_blocks for stage in stages)
    for depth, blocks in BLOCKS.items():
        if blocks[: len(counts)] == counts and all(_fits(stage.block, depth) for stage in stages):
            return depth
    raise ConfigError(
        f"{where} has stages of {', '.join(map(str, counts))} blocks ({stages[0].block}), as no ResNet of depth "
        f"{', '.join(map(str, BLOCKS))} has. d2deploy can build those."
    )


def _levels(stages: Sequence[_Stage]) -> dict[str, Level]:
    levels = {}
    stride = 4
    for name, stage in zip(STAGES, stages, strict=False):
        stride *= stage.stride
        levels[name] = Level(stage.out_channels, stride)
    return levels
