"""How an image becomes the network's input: the model's arguments, and the data loader for tests where there is one.

Facts: detectron2 data/dataset_mapper.py, data/transforms/augmentation_impl.py, data/build.py at 02b5c4e2.
"""

from dataclasses import dataclass
from typing import Any

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import MAX_WHOLE, Arguments
from d2deploy.config.lazy.node import Call, LazyNode
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Symbol
from d2deploy.errors import ConfigError

_TOPK = 1000  # precomputed_proposal_topk, where no mapper says it
_BILINEAR = (2, Symbol("PIL.Image.BILINEAR"), Symbol("PIL.Image.Resampling.BILINEAR"))


@dataclass(frozen=True, kw_only=True)
class Loader:
    """What dataloader.test says; None or "" where it says nothing."""

    min_size: int | None = None  # shorter edge; 0: no resizing
    max_size: int | None = None
    channel_order: str | None = None
    proposals_topk: int = _TOPK
    dataset: str = ""
    problem: str = ""  # why there are no sizes


def read_loader(config: LazyNode) -> Loader:
    """dataloader.test of a config; one that is not built like detectron2's says nothing."""
    test = _section(_section(config, "dataloader"), "test")
    mapper = _section(test, "mapper")
    sizes = _sizes(mapper)
    topk = mapper.get("precomputed_proposal_topk") if mapper else None
    return Loader(
        **sizes,
        channel_order=mapper.get("image_format") if mapper else None,
        proposals_topk=topk if type(topk) is int and topk > 0 else _TOPK,
        dataset=_dataset(_section(test, "dataset")),
    )


def read_input(model: Arguments, loader: Loader, min_size: int | None, max_size: int | None) -> schema.Input:
    """Sizes, channel order and normalisation. `min_size` and `max_size` go over the loader's."""
    mean = model.reals("pixel_mean")
    if not mean:
        raise model.refused("pixel_mean", [], "a number for each channel of the image")
    short = loader.min_size if min_size is None else min_size
    long = loader.max_size if max_size is None else max_size
    if short is None or (long is None and short > 0):
        problem = loader.problem or "It has no dataloader.test.mapper.augmentations"
        raise ConfigError(
            f"The config does not say how images are resized for the network. {problem}. "
            f"Give --min-size and --max-size: the shorter edge after resizing, and the cap of the longer."
        )
    return schema.Input(
        min_size=short,
        max_size=long or MAX_WHOLE - 1,
        channel_order=_channel_order(model, loader),
        pixel_mean=mean,
        pixel_std=model.reals("pixel_std", count=len(mean), positive=True),
    )


def _channel_order(model: Arguments, loader: Loader) -> str:
    """The loader's, which is what the network was fed with; the model's is for pictures of the training only."""
    own = model.one_of("input_format", (None, "BGR", "RGB"), None)
    if loader.channel_order is None:
        return str(own or "BGR")
    if loader.channel_order not in ("BGR", "RGB") or own not in (None, loader.channel_order):
        raise ConfigError(
            f"dataloader.test.mapper.image_format is {loader.channel_order!r} and model.input_format {own!r}; "
            f"both must be BGR, or both RGB."
        )
    return loader.channel_order


def _sizes(mapper: LazyNode | None) -> dict[str, Any]:
    """min_size and max_size of the only augmentation, or the problem with it."""
    augmentations = mapper.get("augmentations") if mapper else None
    if not isinstance(augmentations, list):
        return {}
    if not augmentations:
        return {"min_size": 0}
    where = "dataloader.test.mapper.augmentations"
    first = augmentations[0]
    if len(augmentations) > 1 or not isinstance(first, Call) or short_name(first.target) != "ResizeShortestEdge":
        return {"problem": f"{where} is not one ResizeShortestEdge"}
    resize = Arguments(first, f"{where}.0", positional=("short_edge_length", "max_size", "sample_style", "interp"))
    lengths = resize.any("short_edge_length")
    edges = lengths if isinstance(lengths, list) else [lengths]
    cap = resize.whole("max_size", MAX_WHOLE - 1)
    if resize.any("interp", 2) not in _BILINEAR:
        raise ConfigError(f"{where} resizes otherwise than bilinearly; d2deploy does not. Remove interp.")
    if any(type(edge) is not int or not 0 < edge < MAX_WHOLE for edge in edges) or len(set(edges)) != 1:
        return {"problem": f"{where} has no single short_edge_length"}
    return {"min_size": edges[0], "max_size": cap}


def _dataset(dataset: LazyNode | None) -> str:
    """The first name of get_detection_dataset_dicts(names)."""
    names = dataset.get("names") if dataset else None
    first = names[0] if isinstance(names, list) and names else names
    return first if isinstance(first, str) else ""


def _section(node: LazyNode | None, name: str) -> LazyNode | None:
    found = node.get(name) if node is not None else None
    return found if isinstance(found, LazyNode) else None
