import pytest

from d2deploy.config.lazy.read import read_lazy_config
from d2deploy.errors import ConfigError

TEXT = "model = dict(n=1, m='${.n}', heads=[dict(fc=[8, 8]), dict(fc=[4])], name='a')\nmodel.a = dict(b=model.heads)"

CASES = {
    "model.n=3": ("n", 3),
    "++model.n=3": ("n", 3),
    "model.n = -2.5e-1": ("n", -0.25),
    "model.n=null": ("n", None),
    "model.n=True": ("n", True),
    "model.n=false": ("n", False),
    "model.n='3'": ("n", "3"),
    "model.n=[1, 2.5, 'x']": ("n", [1, 2.5, "x"]),
    "model.n=(1, 2)": ("n", [1, 2]),
    "model.n=[res2,res3]": ("n", ["res2", "res3"]),
    "model.n={a: 1, b: [2]}": ("n", {"a": 1, "b": [2]}),
    "model.n={'a': {'b': 1}}": ("n", {"a": {"b": 1}}),
    "model.name=a=b": ("name", "a=b"),
    "model.name=detectron2://x/y.pkl": ("name", "detectron2://x/y.pkl"),
    "model.name=": ("name", ""),
    "model.new=1": ("new", 1),
    "model.m=${.name}": ("m", "a"),
    "model.n=7 ": ("n", 7),
}


@pytest.fixture
def read(tmp_path):
    (tmp_path / "config.py").write_text(TEXT)
    return lambda *overrides: read_lazy_config(tmp_path / "config.py", overrides)


@pytest.mark.parametrize("override", CASES)
def test_an_override_sets_a_value(override, read):
    key, expected = CASES[override]
    assert read(override).to_dict()["model"][key] == expected


def test_overrides_reach_into_lists_remove_and_go_in_order(read):
    model = read("model.heads.1.fc=[2]", "model.heads.0.fc.1=5", "~model.a", "model.n=2", "model.n=9").model
    assert [head.fc for head in model.heads] == [[8, 5], [2]]
    assert "a" not in model and model.n == model.m == 9
    assert len(read("~model.heads.0").model.heads) == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.n", "write model.key=value"),
        ("~model.n=3", "write model.key=value"),
        ("=3", "write model.key=value"),
        ("model..n=3", "write model.key=value"),
        ("", "write model.key=value"),
        ("modle.n=3", "goes into modle, which .*config.py does not have. The nearest is model"),
        ("model.head.fc=3", "goes into model.head, .*The nearest is heads"),
        ("model.n.x=3", "goes into model.n"),
        ("model.heads.7.fc=3", "goes into model.heads.7"),
        ("model.heads.7=3", "no entry 7"),
        ("model.heads.x=3", "no entry 'x'"),
        ("~model.nothing", "no key nothing"),
        ("model.__class__=1", "cannot be a key"),
        ("model.n={1, 2}", "cannot be a value|cannot be read|a set"),
        ("model.n=[1", "the override"),
        ("model.n={a: !!python/name:os.system x}", "the override"),
        ("model.n=[" + "[" * 200, "override"),
        ("model.n=" + "1" * 20_000, "write model.key=value"),
        ("model.n=1j", "cannot be a value"),
    ],
)
def test_a_bad_override_is_told(override, words, read):
    with pytest.raises(ConfigError, match=words):
        read(override)
