"""Resizing inside a graph, against Pillow: equal, not near."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d2deploy.image import resize_shortest_edge
from d2deploy.image import resized_shape as shape_of_image
from d2deploy.ops.resize_image import ResizeImage, resize_image, resized_shape

sides = st.integers(1, 90)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60)
@given(sides, sides, sides, sides)
def test_equal_to_pillow(height: int, width: int, new_height: int, new_width: int) -> None:
    image = noise(height, width)
    # One axis after the other, as Pillow itself did up to version 12.
    narrow = Image.fromarray(image).resize((new_width, height), Image.Resampling.BILINEAR)
    expected = np.asarray(narrow.resize((new_width, new_height), Image.Resampling.BILINEAR))
    resized = resize_image(torch.from_numpy(image), new_height, new_width)
    assert resized.dtype == torch.float32
    np.testing.assert_array_equal(resized.numpy(), expected)


# Real sizes; a sixteenth; one pixel wide and high; a size that is a half exactly; black and white.
@pytest.mark.parametrize(
    "size", [(480, 640), (640, 427), (1200, 37), (1, 64), (64, 1), (448, 455), (1600, 100), (1, 1)], ids=str
)
def test_equal_to_what_the_predictor_does(size: tuple[int, int]) -> None:
    for image in (noise(*size), (noise(*size) > 127).astype(np.uint8) * 255):
        expected = resize_shortest_edge(image, min_size=100, max_size=167)
        images, image_sizes, original_sizes = ResizeImage(min_size=100, max_size=167)(torch.from_numpy(image))
        np.testing.assert_array_equal(images[0].permute(1, 2, 0).numpy(), expected)
        assert image_sizes.tolist() == [list(expected.shape[:2])] and original_sizes.tolist() == [list(size)]


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([(800, 1333), (512, 512), (1, 5), (1024, 2048)]))
def test_the_same_size(height: int, width: int, limits: tuple[int, int]) -> None:
    min_size, max_size = limits
    expected = shape_of_image(height, width, min_size=min_size, max_size=max_size)
    assert resized_shape(height, width, min_size, max_size) == expected


def test_every_size_is_the_same_up_to_a_width() -> None:
    """Sizes that are a half before rounding are among them: there the last bit decides."""
    for width in range(1, 3000):
        expected = shape_of_image(448, width, min_size=800, max_size=1333)
        assert resized_shape(448, width, 800, 1333) == expected


def test_no_resizing() -> None:
    image = torch.from_numpy(noise(5, 7))
    images, image_sizes, original_sizes = ResizeImage(min_size=0, max_size=0)(image)
    assert torch.equal(images, image.permute(2, 0, 1)[None].float())
    assert image_sizes.tolist() == original_sizes.tolist() == [[5, 7]]


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captured_on_one_size_it_runs_on_all(capture: str, captures: dict[str, Callable[..., Any]]) -> None:
    op = ResizeImage(min_size=20, max_size=50)
    captured = captures[capture](op, (torch.from_numpy(noise(30, 40)),))
    for size in ((30, 40), (40, 30), (1, 64), (300, 7), (1, 1)):
        image = torch.from_numpy(noise(*size))
        for ours, theirs in zip(captured(image), op(image), strict=True):
            assert torch.equal(ours, theirs)
