"""Checkpoints that know only the ends of the network's names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.errors import WeightsError
from d2deploy.weights.rename import Shape, match_by_suffix

CASES: dict[str, tuple[dict[str, Shape], dict[str, Shape], dict[str, str]]] = {
    "same": ({"a.w": (1,)}, {"a.w": (1,)}, {"a.w": "a.w"}),
    "end": ({"backbone.a.w": (1,)}, {"a.w": (1,)}, {"backbone.a.w": "a.w"}),
    "only_at_a_dot": ({"backbone.ba.w": (1,)}, {"a.w": (1,)}, {}),
    "longest_wins": ({"x.a.w": (1,)}, {"w": (1,), "a.w": (1,), "x.a": (1,)}, {"x.a.w": "a.w"}),
    "longest_wins_whatever_its_shape": ({"x.a.w": (1,)}, {"w": (1,), "a.w": (2,)}, {"x.a.w": "a.w"}),
    "the_checkpoint_may_not_be_longer": ({"a.w": (1,)}, {"x.a.w": (1,)}, {}),
    "shape_decides": ({"x.w": (1,), "y.w": (2,)}, {"w": (2,)}, {"y.w": "w"}),
    "misshaped_alone_stays": ({"x.w": (1,)}, {"w": (2,)}, {"x.w": "w"}),
    "resnet": (
        {"backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7), "roi_heads.box_head.fc1.weight": (8, 8)},
        {"stem.conv1.weight": (64, 3, 7, 7), "stem.fc.weight": (1000, 2048)},
        {"backbone.bottom_up.stem.conv1.weight": "stem.conv1.weight"},
    ),
    "nothing": ({}, {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_match(case):
    network, checkpoint, expected = CASES[case]
    assert match_by_suffix(network, checkpoint) == expected


def test_two_claims_of_the_right_shape_are_ambiguous():
    with pytest.raises(WeightsError, match=r"fc\.weight of the checkpoint could be a\.fc\.weight or b\.fc\.weight"):
        match_by_suffix({"b.fc.weight": (1,), "a.fc.weight": (1,)}, {"fc.weight": (1,)})


NAMES = st.dictionaries(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), st.sampled_from([(1,), (2,)]), max_size=8
)


@given(NAMES, NAMES)
def test_pairs_are_ends_and_no_tensor_is_used_twice(network, checkpoint):
    try:
        pairs = match_by_suffix(network, checkpoint)
    except WeightsError:
        return
    for name, source in pairs.items():
        assert f".{name}".endswith(f".{source}")
        longer = [other for other in checkpoint if len(other) > len(source) and f".{name}".endswith(f".{other}")]
        assert not longer
    fitting = [source for name, source in pairs.items() if network[name] == checkpoint[source]]
    assert len(fitting) == len(set(fitting))
    assert pairs == match_by_suffix(dict(reversed(network.items())), dict(reversed(checkpoint.items())))
