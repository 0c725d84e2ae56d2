"""Load a checkpoint into a network by name, and say what did not fit."""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d2deploy.errors import WeightsError
from d2deploy.optional import optional
from d2deploy.weights.rename import (
    CLASSIFIER,
    Shape,
    from_caffe2,
    from_older,
    from_torchvision,
    is_torchvision,
    match_by_suffix,
)

if TYPE_CHECKING:
    import torch  # noqa: TID251 - its types only
    from torch import nn  # noqa: TID251

    from d2deploy.weights.read import Checkpoint

SHOWN = 10  # tensors that an error names before it only counts

# What training alone reads: a counter of its steps, how often it samples each class (FastRCNNOutputLayers).
_OF_TRAINING = ("num_batches_tracked", "fed_loss_cls_weights")
# May be in one and not in the other: that, and constants that the config or the code gives (the index is Swin's).
_CONSTANTS = ("pixel_mean", "pixel_std", "relative_position_index")
_IGNORED = re.compile(rf"(^|\.)({'|'.join(_CONSTANTS + _OF_TRAINING)})$|anchor_generator\.cell_anchors")


@dataclass(frozen=True, kw_only=True)
class Misshaped:
    """A tensor whose shape in the checkpoint is not the network's."""

    name: str
    checkpoint: Shape
    network: Shape


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of each tensor.

    Names are the network's; of what only the checkpoint has they are its own, Caffe2's and torchvision's as rename.py
    puts them.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # in the network only
    unexpected: tuple[str, ...] = ()  # in the checkpoint only
    misshaped: tuple[Misshaped, ...] = ()
    ignored: tuple[str, ...] = ()  # in one only, and rightly so
    path: Path | None = None  # of the checkpoint

    @property
    def ok(self) -> bool:
        """Whether every tensor of the network was loaded, and none of the checkpoint was left over."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        return "\n".join([f"{self._file}: {self._counts()}", *(line for lines in self._strays() for line in lines)])

    def raise_if_bad(self) -> None:
        """Raises WeightsError, which has this report as `.report`, unless `ok`."""
        if self.ok:
            return
        strays = [lines for lines in self._strays() if lines]
        shown = [line for lines in strays for line in _shortened(lines, SHOWN // len(strays))]
        first = f"{self._file} does not fit the network: {self._counts()}"
        error = WeightsError("\n".join([first, *shown, self._guess()]))
        error.report = self
        raise error

    @property
    def _file(self) -> str:
        return str(self.path or "The checkpoint")

    def _counts(self) -> str:
        kinds = ("loaded", "missing", "unexpected", "misshaped", "ignored")
        return ", ".join(f"{len(getattr(self, kind))} {kind}" for kind in kinds)

    def _strays(self) -> tuple[list[str], list[str], list[str]]:
        misshaped = [f"  misshaped {m.name}: {m.checkpoint}, in the network {m.network}" for m in self.misshaped]
        missing = [f"  missing {name}{_nearest(name, self.unexpected)}" for name in self.missing]
        unexpected = [f"  unexpected {name}{_nearest(name, self.missing)}" for name in self.unexpected]
        return misshaped, missing, unexpected

    def _guess(self) -> str:
        """What to do, guessed from the strays."""
        if not self.loaded:
            return "No tensor fits: these are weights of another architecture. Give the config they were trained with."
        if all(name.startswith("backbone.bottom_up.") for name in self.loaded):
            return (
                "Only the backbone fits: these are weights to start a training from. Give those of a trained detector."
            )
        if guess := self._guess_classes():
            return guess
        for pattern, only_in, guess in _GUESSES:
            strays = getattr(self, only_in)
            if strays and all(re.match(pattern, name) for name in strays):
                return guess
        return "Give the config that this checkpoint was trained with."

    def _guess_classes(self) -> str | None:
        for stray in self.misshaped:
            if re.fullmatch(r"roi_heads\.box_predictor\.(\d+\.)?cls_score\.bias", stray.name):
                trained, given = stray.checkpoint[0] - 1, stray.network[0] - 1  # the last one is background
                return (
                    f"The checkpoint knows {trained} classes, the config says {given}. Set MODEL.ROI_HEADS.NUM_CLASSES "
                    f"{trained}, or give the config that it was trained with."
                )
        if any("cls_score" in stray.name for stray in self.misshaped):
            return "The number of classes differs. Give the config that this checkpoint was trained with."
        return None


# (names, where all strays have such a name, what that means)
_GUESSES = (
    (r"roi_heads\.mask_", "unexpected", "The checkpoint has a mask head, the config none: set MODEL.MASK_ON True."),
    (r"roi_heads\.mask_", "missing", "The config has a mask head, the checkpoint none: set MODEL.MASK_ON False."),
    (r"roi_heads\.keypoint_", "unexpected", "The checkpoint has a keypoint head, which the config does not ask for."),
    (r"sem_seg_head\.", "unexpected", "The checkpoint has a semantic head, which the config does not ask for."),
    (r"backbone\.bottom_up\.res\d\.\d+\.", "unexpected", "Is its ResNet deeper? Check MODEL.RESNETS.DEPTH."),
    (r"backbone\.bottom_up\.res\d\.\d+\.", "missing", "Is its ResNet less deep? Check MODEL.RESNETS.DEPTH."),
)


def load_weights(module: "nn.Module", checkpoint: "Checkpoint") -> LoadReport:
    """Put the checkpoint's tensors in place of the parameters and buffers in `module.state_dict()`, by name.

    Tensors get the network's dtype and device (the CPU when it is on meta) and are not copied where these are right:
    they may lie on the file's memory map. What does not fit is left as it was, and named in the report. Names of Caffe2
    and of torchvision's ResNet become detectron2's first. Raises WeightsError when names must be matched by their ends
    and two tensors of the network claim the same one, and for tensors with NaN or infinity.
    """
    network = module.state_dict()
    tensors = _under_network_names(network, checkpoint)
    shared = [name for name in network if name in tensors]
    fitting = [name for name in shared if network[name].shape == tensors[name].shape]
    placed = {name: _placed(tensors[name], network[name]) for name in fitting}
    _check_finite(placed, checkpoint)
    absent = [name for name in network if name not in tensors]
    filled = {**_zeros_of_training({name: network[name] for name in absent}), **_plain_statistics(network, tensors)}
    module.load_state_dict({**placed, **filled}, strict=False, assign=True)
    ignored = [name for name in absent if name in filled or (_IGNORED.search(name) and not network[name].is_meta)]
    left_over = [name for name in tensors if name not in network]
    unused = [name for name in left_over if _IGNORED.search(name) or _is_classifier(name, checkpoint)]
    return LoadReport(
        loaded=tuple(fitting),
        missing=tuple(name for name in absent if name not in ignored),
        unexpected=tuple(name for name in left_over if name not in unused),
        misshaped=tuple(
            Misshaped(name=name, checkpoint=tuple(tensors[name].shape), network=tuple(network[name].shape))
            for name in shared
            if name not in placed
        ),
        ignored=(*ignored, *unused),
        path=checkpoint.path,
    )


def _under_network_names(network: "dict[str, torch.Tensor]", checkpoint: "Checkpoint") -> "dict[str, torch.Tensor]":
    tensors, needs_matching = from_older(checkpoint.tensors), checkpoint.needs_matching
    if needs_matching and checkpoint.author == "Caffe2":
        tensors = from_caffe2(tensors)
    elif is_torchvision(tensors) and not any("layer1." in name for name in network):
        tensors, needs_matching = from_torchvision(tensors), True
    if not needs_matching:
        return tensors
    pairs = match_by_suffix(_shapes(network), _shapes(tensors))
    taken = set(pairs.values())
    others = {name: tensor for name, tensor in tensors.items() if name not in taken}
    return {**{name: tensors[source] for name, source in pairs.items()}, **others}


def _is_classifier(name: str, checkpoint: "Checkpoint") -> bool:
    """Whether it is left over from ImageNet. Only checkpoints with ends of names hold such, or those begun with one."""
    return CLASSIFIER.fullmatch(name) is not None and (checkpoint.needs_matching or name.startswith("stem."))


def _shapes(tensors: "dict[str, torch.Tensor]") -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_finite(tensors: "dict[str, torch.Tensor]", checkpoint: "Checkpoint") -> None:
    # A sum is finite only if all its numbers are, and takes a fiftieth of the time; it may also overflow.
    broken = [n for n, t in tensors.items() if not bool(t.sum().isfinite()) and not bool(t.isfinite().all())]
    if broken:
        raise WeightsError(
            f"{checkpoint.path or 'The checkpoint'} has numbers that are not finite in {len(broken)} of {len(tensors)} "
            f"tensors, in {broken[0]} for one: the training diverged. Give an earlier checkpoint."
        )


def _placed(tensor: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    return tensor.to(device="cpu" if like.is_meta else like.device, dtype=like.dtype).contiguous()


def _zeros_of_training(absent: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Nothing reads here what training alone reads, but it must not stay on meta."""
    torch = optional("torch", extra="torch")
    unread = {name: tensor for name, tensor in absent.items() if name.endswith(_OF_TRAINING)}
    return {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in unread.items() if tensor.is_meta}


def _plain_statistics(
    network: "dict[str, torch.Tensor]", tensors: "dict[str, torch.Tensor]"
) -> "dict[str, torch.Tensor]":
    """Mean 0 and variance 1 for each FrozenBatchNorm2d of which the checkpoint has weight and bias alone.

    Caffe2 folds the statistics into weight and bias; detectron2 fills them in like this (layers/batch_norm.py). A norm
    that counts its steps is no frozen one: what it lacks is missing.
    """
    library = optional("torch", extra="torch")
    filled: dict[str, torch.Tensor] = {}
    for mean in (name for name in network if name.endswith("running_mean")):
        layer = mean.removesuffix("running_mean")
        variance = f"{layer}running_var"
        is_frozen = f"{layer}num_batches_tracked" not in network
        if is_frozen and f"{layer}weight" in tensors and mean not in tensors and variance not in tensors:
            like = network[mean]
            device = "cpu" if like.is_meta else like.device
            filled[mean] = library.zeros(like.shape, dtype=like.dtype, device=device)
            filled[variance] = library.ones(like.shape, dtype=like.dtype, device=device)
    return filled


def _shortened(lines: list[str], most: int) -> Iterator[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"  ... and {len(lines) - most} more {lines[0].split()[0]}"


def _nearest(name: str, candidates: Collection[str]) -> str:
    """What a line says of the candidate most like `name`; nothing when none is near.

    Names that share the most parts between dots first, for comparing spellings of some hundred names with some hundred
    others takes seconds.
    """
    parts = set(name.split("."))
    shared = {candidate: len(parts & set(candidate.split("."))) for candidate in candidates}
    most = max(shared.values(), default=0)
    best = [candidate for candidate, count in shared.items() if count == most][:8]
    near = difflib.get_close_matches(name, best, n=1, cutoff=0.75)
    return f" (nearest: {near[0]})" if near else ""
