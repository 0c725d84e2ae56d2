from pathlib import Path

import pytest

from d2deploy.config.versions import RENAMES, has, upgraded, version_of
from d2deploy.errors import ConfigError

FILE = Path("my.yaml")


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def at(tree, name):
    for part in name.split("."):
        tree = tree[part]
    return tree


def upgrade(tree, version=1, meta_architecture=None):
    return upgraded(tree, version, meta_architecture=meta_architecture, path=FILE)


@pytest.mark.parametrize(
    ("tree", "version"),
    [
        ({"VERSION": 2}, 2),
        ({"VERSION": 1}, 1),
        ({"VERSION": "1"}, 1),
        ({"VERSION": 0}, 0),
        ({}, 2),
        ({"MODEL": {"WEIGHTS": "x"}}, 2),
        ({"MODEL": {"WEIGHT": "x"}}, 1),
        ({"TEST": {"AUG_ON": True}}, 1),
        ({"MODEL": None, "TEST": 5}, 2),
        ({"VERSION": 2, "MODEL": {"WEIGHT": "x"}}, 2),
    ],
)
def test_version_is_read_or_guessed(tree, version):
    assert version_of(tree, FILE) == version


@pytest.mark.parametrize("version", [3, -1, 1.0, "two", True, [2], {"A": 1}])
def test_other_versions_are_refused(version):
    with pytest.raises(ConfigError, match=r"VERSION in my\.yaml"):
        version_of({"VERSION": version}, FILE)


@pytest.mark.parametrize(("old", "new"), [pair for pairs in RENAMES.values() for pair in pairs])
def test_each_rename(old, new):
    tree = nested(old, "value")
    result = upgrade(tree, version=0)
    assert at(result, new) == "value"
    assert not has(result, old)
    assert result["VERSION"] == 2
    assert tree == nested(old, "value")


def test_version_0_has_a_rename_that_version_1_lacks():
    assert has(upgrade(nested("MODEL.RPN_HEAD.NAME", "x"), version=0), "MODEL.RPN.HEAD_NAME")
    assert has(upgrade(nested("MODEL.RPN_HEAD.NAME", "x"), version=1), "MODEL.RPN_HEAD.NAME")


@pytest.mark.parametrize(("meta", "used"), [("RetinaNet", "RETINANET"), ("GeneralizedRCNN", "RPN"), (None, "RPN")])
def test_anchors_are_those_of_the_part_that_uses_them(meta, used):
    sections = {
        name: {"ANCHOR_SIZES": [[name]], "ANCHOR_ASPECT_RATIOS": [[1.0]], "KEPT": 1} for name in ("RPN", "RETINANET")
    }
    sections["RETINANET"]["ANCHOR_STRIDES"] = [8]
    result = upgrade({"MODEL": sections}, meta_architecture=meta)
    assert result["MODEL"] == {
        "RPN": {"KEPT": 1},
        "RETINANET": {"KEPT": 1},
        "ANCHOR_GENERATOR": {"SIZES": [[used]], "ASPECT_RATIOS": [[1.0]]},
    }


def test_version_2_is_left_alone():
    assert upgrade({"MODEL": {"WEIGHT": "x"}}, version=2) == {"MODEL": {"WEIGHT": "x"}, "VERSION": 2}


def test_two_names_of_one_key_are_refused():
    with pytest.raises(ConfigError, match=r"both MODEL\.WEIGHT and MODEL\.WEIGHTS"):
        upgrade({"MODEL": {"WEIGHT": "a", "WEIGHTS": "b"}})
    with pytest.raises(ConfigError, match=r"AUG in my\.yaml is 5, not a section"):
        upgrade({"TEST": {"AUG_ON": True, "AUG": 5}})
