"""The public face: what `d2deploy` promises is there, and nothing is promised twice differently."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import d2deploy
from d2deploy import errors

INIT = Path(d2deploy.__file__)
PACKAGES = sorted(p.parent for p in INIT.parent.rglob("__init__.py"))


def names_for_type_checkers() -> set[str]:
    imports = [node for node in ast.walk(ast.parse(INIT.read_text())) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports if node.level == 0 for alias in node.names} - {
        "import_module",
        "TYPE_CHECKING",
    }


def test_all_is_what_editors_and_type_checkers_see():
    assert list(d2deploy.__all__) == sorted(d2deploy.__all__)
    assert set(d2deploy.__all__) == names_for_type_checkers()
    assert set(dir(d2deploy)) == {*d2deploy.__all__, "__version__"}


@pytest.mark.parametrize("name", d2deploy.__all__)
def test_every_public_name_is_ours_and_documented(name):
    thing = getattr(d2deploy, name)
    assert thing.__module__.startswith("d2deploy.")
    assert thing.__name__ == name
    assert inspect.getdoc(thing)


def test_the_verbs_of_the_readme_are_public():
    assert {"load_model", "export", "verify", "evaluate", "open_runner", "Predictor"} <= set(d2deploy.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        _ = d2deploy.exprot


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.relative_to(INIT.parent.parent).as_posix())
def test_every_all_names_what_exists(folder):
    name = ".".join(folder.relative_to(INIT.parent.parent).parts)
    package = import_module(name)
    assert [n for n in getattr(package, "__all__", ()) if not hasattr(package, n)] == []


def test_the_error_tree_is_drawn_as_it_is():
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"([ |+-]*)([A-Z]\w+) {2,}\S", line):
            depth = len(branch[1]) // 4
            above[depth:] = [branch[2]]
            drawn[branch[2]] = above[depth - 1] if depth else "Exception"
    real = {
        n: c.__mro__[1].__name__ for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)
    }
    assert drawn == real
