"""match: pairs by class and overlap, whatever the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2deploy.results import Instances
from d2deploy.workflows.matching import match


def instances(*rows: tuple[float, float, float, float, float, int]) -> Instances:
    """Rows x1 y1 x2 y2 score class."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Instances(
        image_size=(100, 100),
        pred_boxes=table[:, :4].astype(np.float32),
        scores=table[:, 4].astype(np.float32),
        pred_classes=table[:, 5].astype(np.int64),
    )


CASES = {
    "both empty": ([], [], [], [], []),
    "left empty": ([], [(0, 0, 9, 9, 0.9, 0)], [], [], [0]),
    "right empty": ([(0, 0, 9, 9, 0.9, 0)], [], [], [0], []),
    "same": ([(0, 0, 9, 9, 0.9, 0)], [(0, 0, 9, 9, 0.9, 0)], [(0, 0)], [], []),
    "other class": ([(0, 0, 9, 9, 0.9, 0)], [(0, 0, 9, 9, 0.9, 1)], [], [0], [0]),
    "other place": ([(0, 0, 9, 9, 0.9, 0)], [(20, 0, 29, 9, 0.9, 0)], [], [0], [0]),
    "other order": (
        [(0, 0, 9, 9, 0.9, 0), (40, 0, 49, 9, 0.9, 0)],
        [(40, 0, 49, 9, 0.9, 0), (0, 0, 9, 9, 0.9, 0)],
        [(0, 1), (1, 0)],
        [],
        [],
    ),
    "two for one: the better overlap wins": (
        [(0, 0, 10, 10, 0.9, 0), (1, 0, 11, 10, 0.8, 0)],
        [(1, 0, 11, 10, 0.9, 0)],
        [(1, 0)],
        [0],
        [],
    ),
    "equal overlap: the nearer score wins": (
        [(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.3, 0)],
        [(0, 0, 10, 10, 0.3, 0), (0, 0, 10, 10, 0.9, 0)],
        [(0, 1), (1, 0)],
        [],
        [],
    ),
    "slivers thinner than their difference": (
        [(5.00, 0, 5.01, 50, 0.9, 0)],
        [(5.02, 0, 5.03, 50, 0.9, 0)],
        [(0, 0)],
        [],
        [],
    ),
    "not a number finds no partner": (
        [(float("nan"), 0, 9, 9, 0.9, 0)],
        [(0, 0, 9, 9, 0.9, 0)],
        [],
        [0],
        [0],
    ),
    "infinity finds no partner": (
        [(0, 0, float("inf"), 9, 0.9, 0)],
        [(0, 0, float("inf"), 9, 0.9, 0)],
        [],
        [0],
        [0],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_cases(case):
    a, b, pairs, only_a, only_b = case
    matching = match(instances(*a), instances(*b))
    assert sorted(map(tuple, matching.pairs.tolist())) == pairs
    assert matching.pairs.shape == (len(pairs), 2)
    assert matching.only_a.tolist() == only_a
    assert matching.only_b.tolist() == only_b


@st.composite
def scattered(draw):
    count = draw(st.integers(0, 12))
    corner = draw(hnp.arrays(np.float32, (count, 2), elements=st.floats(0, 80, width=32)))
    side = draw(hnp.arrays(np.float32, (count, 2), elements=st.floats(0, 20, width=32)))
    return Instances(
        image_size=(100, 100),
        pred_boxes=np.concatenate([corner, corner + side], axis=1),
        scores=draw(hnp.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        pred_classes=draw(hnp.arrays(np.int64, count, elements=st.integers(0, 2))),
    )


@given(scattered(), scattered())
def test_each_detection_appears_once(a, b):
    matching = match(a, b)
    assert sorted([*matching.pairs[:, 0], *matching.only_a]) == list(range(len(a)))
    assert sorted([*matching.pairs[:, 1], *matching.only_b]) == list(range(len(b)))
    assert (a.pred_classes[matching.pairs[:, 0]] == b.pred_classes[matching.pairs[:, 1]]).all()


@given(scattered(), st.randoms(use_true_random=False))
def test_a_shuffled_copy_matches_itself_wholly(a, random):
    order = list(range(len(a)))
    random.shuffle(order)
    shuffled = a[np.array(order, dtype=np.int64)]
    left, right = match(a, shuffled).pairs.T
    assert len(left) == len(a)
    # Duplicates may trade places when their overlap is equal to three digits: never by more than that allows.
    np.testing.assert_allclose(a.pred_boxes[left], shuffled.pred_boxes[right], atol=0.5)
