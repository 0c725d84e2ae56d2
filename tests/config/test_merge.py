import pytest

from d2deploy.config.merge import decoded, fitted, inherited, merged
from d2deploy.errors import ConfigError


def here(name: str) -> str:
    return "my.yaml"


# The rules are yacs': (value in the file, default, result)
FITS = [
    (0.5, 0.7, 0.5),
    (3, 1, 3),
    (True, False, True),
    ("x", "y", "x"),
    ([1], [2, 3], [1]),
    ((1,), [2], [1]),
    ([1], (2,), (1,)),
    ("(800,)", (640,), (800,)),
    ("[800]", (640,), (800,)),
    ("(1, 2)", [0], [1, 2]),
    ("1e-3", 0.7, 0.001),
    ("1", 2, 1),
    ("True", False, True),
    ("None", "x", None),
    (None, 0.5, None),
    (None, [1], None),
    (5, None, 5),
    ([1], None, [1]),
    ("coco_2017_val", "x", "coco_2017_val"),
    ("", "x", ""),
    ("detectron2://a/b.pkl", "", "detectron2://a/b.pkl"),
    ("C:\\data", "", "C:\\data"),
    ("'quoted'", "x", "quoted"),
    ("9**9**9", "x", "9**9**9"),
    ({0: {"B": 1}}, {}, {"0": {"B": 1}}),  # an open section takes any keys, and what stands there stays as it is
    ("{'0': '(1, 2)'}", {}, {"0": "(1, 2)"}),
    ("__import__('os')", "x", "__import__('os')"),
]
MISFITS = [
    (1, 0.7, "such as 1.0."),
    ("1", 0.7, "such as 1.0."),
    (0.5, 1, "a whole number, such as 1"),
    (True, 1, "a whole number"),
    (1, True, "true or false"),
    ("yes", True, "true or false"),
    (1, "x", "text"),
    ("123", "x", "text"),
    (800, (640,), "a tuple"),
    ("coco_2017_val", (), "such as ('coco_2017_val',)."),
    ({"A": 1}, 5, "a section with keys of its own"),
    ("{'A': 1}", "x", "text"),
    ({"A": 1}, None, "nothing"),
    (5, {"A": 1, "B": 2}, "Set one of its keys: A, B."),
    (None, {"A": 1}, "it is a section"),
    ("{'A': 1}", {"A": 1}, "it is a section"),
    (5, {}, "a section of your own keys"),
    (None, {}, "a section of your own keys"),
    ("{1, 2}", [1], "a list"),
    ("x" * 500, 5, "..."),
]


@pytest.mark.parametrize(("value", "old", "result"), FITS)
def test_fitted(value, old, result):
    assert repr(fitted("KEY", value, old, where=here)) == repr(result)


@pytest.mark.parametrize(("value", "old", "words"), MISFITS)
def test_misfits_name_key_file_and_remedy(value, old, words):
    with pytest.raises(ConfigError) as error:
        fitted("MODEL.KEY", value, old, where=here)
    assert str(error.value).startswith("MODEL.KEY in my.yaml is ")
    assert words in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["-" * 9000 + "1", "(" * 500, "{[]: 1}", "1" * 9000, "\0", "1" * 20_000])
def test_texts_that_trouble_pythons_parser_stay_texts(text):
    assert decoded(text) == text


def test_merged_goes_key_by_key_and_changes_neither():
    old = {"A": {"B": 1, "C": (2.0,)}, "D": "x"}
    new = {"A": {"C": [3.0]}}
    assert merged(new, old, where=here) == {"A": {"B": 1, "C": (3.0,)}, "D": "x"}
    assert old == {"A": {"B": 1, "C": (2.0,)}, "D": "x"} and new == {"A": {"C": [3.0]}}
    with pytest.raises(ConfigError, match=r"A\.B in my\.yaml"):
        merged({"A": {"B": 1.5}}, old, where=here)


def test_a_child_inherits_sections_and_replaces_the_rest():
    base = {"A": {"B": 1, "L": [1, 2]}, "S": {"X": 1}}
    child = {"A": {"L": [3]}, "S": 5, "N": {"Y": 1}}
    assert inherited(child, base, where="child") == {"A": {"B": 1, "L": [3]}, "S": 5, "N": {"Y": 1}}
    assert base["A"] == {"B": 1, "L": [1, 2]}
    with pytest.raises(ConfigError, match=r"A\.B is a section in child, but 1 in its _BASE_"):
        inherited({"A": {"B": {}}}, base, where="child")
