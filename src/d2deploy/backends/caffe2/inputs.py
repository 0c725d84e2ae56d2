"""What detectron2's networks take, a list of dicts, as arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from d2deploy.errors import ImageError


class Given(NamedTuple):
    """One image, ready for the network."""

    pixels: np.ndarray  # float32 [3,h,w]
    result_size: tuple[int, int]  # (height, width) that the result is for
    proposals: np.ndarray | None  # float32 [P,4] x1 y1 x2 y2, pixels of `pixels`; None: none were given


def read_inputs(inputs: Sequence[Mapping[str, Any]], *, with_proposals: bool) -> list[Given]:
    """Each dict's "image" [3,h,w], perhaps "height" and "width", and "proposals" where the network takes such.

    Arrays or tensors. "proposals": boxes [P,4], or what has them as proposal_boxes. Raises ImageError.
    """
    is_list = isinstance(inputs, Sequence)
    if not is_list or not all(isinstance(item, Mapping) and "image" in item for item in inputs):
        raise ImageError('The inputs must be a list of dicts, each with "image", as detectron2\'s networks take them.')
    return [_read(item, f"inputs[{number}]", with_proposals) for number, item in enumerate(inputs)]


def _read(item: Mapping[str, Any], where: str, with_proposals: bool) -> Given:
    pixels = _numbers(item["image"])
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.size == 0:
        raise ImageError(
            f"{where}: the image is {_shape(pixels)}; it must be [3, height, width], numbers from 0 to 255."
        )
    size = tuple(item.get(key, side) for key, side in zip(("height", "width"), pixels.shape[1:]))
    if not all(isinstance(side, int | np.integer) and side > 0 for side in size):
        raise ImageError(f'{where}: "height" and "width" are {size}; they must be whole numbers above 0.')
    if not with_proposals:
        return Given(pixels, (int(size[0]), int(size[1])), None)
    if "proposals" not in item:
        raise ImageError(f'{where}: this network needs "proposals", boxes [P, 4] in pixels of the image. Give them.')
    found = item["proposals"]
    boxes = getattr(found, "proposal_boxes", found)
    proposals = _numbers(getattr(boxes, "tensor", boxes))  # of detectron2's Boxes
    if proposals.ndim != 2 or proposals.shape[1] != 4:
        raise ImageError(f"{where}: the proposals are {_shape(proposals)}; they must be boxes [P, 4] x1 y1 x2 y2.")
    return Given(pixels, (int(size[0]), int(size[1])), proposals)


def _numbers(array: Any) -> np.ndarray:
    """float32; an array without axes for what is no array of numbers."""
    try:
        if hasattr(array, "detach"):  # a tensor, wherever it lies
            array = array.detach().cpu()
        return np.asarray(array, np.float32)
    except (TypeError, ValueError, RuntimeError):
        return np.array(0, np.float32)


def _shape(array: np.ndarray) -> str:
    return str(list(array.shape)) if array.shape else "no array of numbers"
