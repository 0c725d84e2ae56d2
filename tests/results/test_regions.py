"""Semantic results: the logits of the original image, and their labels without ever making all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.results import SemanticResult
from d2deploy.results import resize as module
from d2deploy.results.resize import resize, resize_bands

SIZES = {
    "larger": ((16, 24), (37, 61)),
    "smaller": ((80, 107), (43, 64)),
    "each axis its own way": ((10, 90), (33, 20)),
    "the same": ((9, 7), (9, 7)),
    "one pixel wide": ((40, 1), (200, 3)),
    "to one pixel": ((13, 8), (1, 1)),
    "from one pixel": ((1, 1), (5, 4)),
}


def logits(size, channels=5, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, *size)).astype(np.float32)


@pytest.mark.parametrize("case", SIZES)
def test_resizing_is_torch_s_bilinear(case):
    before, after = SIZES[case]
    maps = logits(before)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None], size=after, mode="bilinear", align_corners=False
    )[0].numpy()
    found = resize(maps, after)
    assert (found.shape, found.dtype) == ((5, *after), np.float32)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    labels = SemanticResult(image_size=after, logits=maps).labels
    assert (labels.shape, labels.dtype) == (after, np.int64)
    np.testing.assert_array_equal(labels, expected.argmax(axis=0))


@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("numbers", [1, 100, 1000])
def test_bands_are_the_whole(case, numbers, monkeypatch):
    before, after = SIZES[case]
    whole = resize(logits(before), after)
    monkeypatch.setattr(module, "_BAND", numbers)
    bands = list(resize_bands(logits(before), after))
    assert [rows.start for rows, _ in bands] == [0, *(rows.stop for rows, _ in bands[:-1])]
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands], axis=1), whole)


def test_labels_are_the_highest_and_the_first_of_equals():
    result = SemanticResult(image_size=(1, 3), logits=np.array([[[1, 0, 2]], [[1, 3, 2]], [[0, 0, 2]]], np.float32))
    assert result.labels.tolist() == [[0, 1, 0]]
    assert result.labels is result.labels  # made once
    np.testing.assert_array_equal(result.sem_seg, result.logits)


def test_half_precision_is_taken():
    small = logits((4, 5)).astype(np.float16)
    assert resize(small, (8, 10)).dtype == np.float32


@given(st.integers(1, 20), st.integers(1, 20), st.floats(-100, 100, width=32))
def test_a_constant_stays_one(height, width, value):
    maps = np.full((2, 3, 7), value, np.float32)
    np.testing.assert_allclose(resize(maps, (height, width)), value, rtol=1e-6)
