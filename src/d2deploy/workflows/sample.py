"""The images that verify uses when the user gives none: few, and of every kind that has broken an export."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from d2deploy.artifact import ModelSpec
from d2deploy.image import to_array

_MAX_SLIVER = 256  # rows; a longer one-pixel-wide image could shrink to no width at all


@dataclass(frozen=True)
class Sample:
    """Images that run as one batch, and what to call them. An image: path or uint8 [H,W,3] BGR."""

    name: str
    images: tuple[np.ndarray | str | Path, ...]
    proposals: tuple[np.ndarray, ...] = ()  # boxes [P,4] of each image, for a model that takes them; none: a grid


def sample_images(image: np.ndarray | str | Path | None, spec: ModelSpec) -> list[Sample]:
    """Images to verify with, made from `image`, or from the bundled demo's images when it is None.

    Landscape, portrait, a wide one of twice the content at half the scale, a one-pixel-wide one, a blank one in the
    model's mean colour (no object expected), and a batch of three different sizes.
    Raises ImageError when `image` cannot be read.
    """
    given = {"sample": image} if image is not None else {f"demo {path.stem}": path for path in demo_images()}
    known = {name: to_array(item) for name, item in given.items()}
    first = next(iter(known.values()))
    made = {**known, **_other_orientations(known), "wide, half scale": _wide(first)}
    single = [Sample(name, (array,)) for name, array in made.items()]
    odd = [Sample("one pixel wide", (_sliver(first),)), Sample("blank", (_blank(spec),))]
    batch = list(made.values())[-3:]
    return [*single, *odd, Sample("batch", tuple(batch))]


def grid_of_boxes(image_size: tuple[int, int]) -> np.ndarray:
    """Boxes float32 [P,4] all over an image (height, width): of its whole size, a half, a quarter and an eighth of it,
    a half of their own size apart, the large ones first."""
    height, width = image_size
    boxes = [
        ((column / 2) / parts, (row / 2) / parts, (column / 2 + 1) / parts, (row / 2 + 1) / parts)
        for parts in (1, 2, 4, 8)
        for row in range(2 * parts - 1)
        for column in range(2 * parts - 1)
    ]
    return (np.array(boxes) * [width, height, width, height]).astype(np.float32)


def demo_images() -> list[Path]:
    """The bundled images."""
    with as_file(files("d2deploy.demo") / "images") as folder:
        return sorted(folder.glob("*.jpg"))


def _other_orientations(known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A landscape and a portrait cut out of the first image, where `known` has none. Cutting keeps objects upright."""
    image = next(iter(known.values()))
    height, width = image.shape[:2]
    made = {}
    if not any(array.shape[1] > array.shape[0] for array in known.values()):
        rows = max(1, width * 3 // 4)
        made["landscape"] = image[(height - rows) // 2 :][:rows]
    if not any(array.shape[0] > array.shape[1] for array in known.values()):
        columns = max(1, height * 3 // 4)
        made["portrait"] = image[:, (width - columns) // 2 :][:, :columns]
    return made


def _wide(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    half = Image.fromarray(image).resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BILINEAR)
    return np.tile(np.asarray(half), (1, 2, 1))


def _sliver(image: np.ndarray) -> np.ndarray:
    middle = image.shape[1] // 2
    return image[:_MAX_SLIVER, middle : middle + 1]


def _blank(spec: ModelSpec) -> np.ndarray:
    mean = spec.preprocess.pixel_mean if spec.preprocess.channel_order == "BGR" else spec.preprocess.pixel_mean[::-1]
    return np.broadcast_to(np.clip(np.round(mean), 0, 255).astype(np.uint8), (120, 160, 3)).copy()
