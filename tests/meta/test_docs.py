"""The documentation says what is so: links lead somewhere, tables name what exists, commands and code run."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from run_fences import run_page, steps

import d2deploy
from d2deploy.backends import FORMATS
from d2deploy.cli import cli

REPO = Path(__file__).parents[2]
PACKAGE = Path(d2deploy.__file__).parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PAGES = sorted(
    {*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("benchmarks/*.md"), *REPO.glob("tests/**/*.md")}
)


def page_id(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule: lower case, punctuation gone, blanks to hyphens."""
    titles = re.findall(r"^#+ +(.*?) *$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        file, _, anchor = link.partition("#")
        if file.startswith(("http://", "https://")):
            continue
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_found():
    text = "[a](README.md) [b](docs/none.md) [c](docs/architecture.md#nowhere) [d](docs/architecture.md#rooms)"
    assert broken_links(REPO / "README.md", text) == ["docs/none.md", "docs/architecture.md#nowhere"]


def test_the_generated_parts_are_current():
    run = subprocess.run([sys.executable, REPO / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_format_is_in_the_readme():
    rows = re.findall(r"^\| `(\w+)` +\|", (REPO / "README.md").read_text(), flags=re.MULTILINE)
    assert rows == list(FORMATS)


def test_every_command_is_in_the_readme():
    text = (REPO / "README.md").read_text()
    assert len(cli.commands) > 5
    assert sorted(name for name in cli.commands if f"d2deploy {name}" not in text) == []


def test_every_format_needs_an_extra_that_exists():
    assert {extra for f in FORMATS.values() for extra in (f.extra, f.runtime_extra)} <= EXTRAS.keys()


def test_every_extra_is_in_the_installation_table():
    documented = set(
        re.findall(r"^\|.*\| `d2deploy\[([\w-]+)\]` \|", (REPO / "docs/install.md").read_text(), re.MULTILINE)
    )
    assert documented == set(EXTRAS)


def test_every_room_is_on_the_map():
    """Each file and folder of the package stands in docs/architecture.md."""
    text = (REPO / "docs/architecture.md").read_text()
    rooms = {f"{p.name}/" if p.is_dir() else p.name for p in PACKAGE.iterdir()} - {"__pycache__/", "py.typed"}
    assert sorted(room for room in rooms if f"`{room}`" not in text) == []


def test_every_folder_is_in_the_readme():
    text = (REPO / "README.md").read_text()
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir()} - {"__pycache__"}
    assert sorted(folder for folder in folders if f"`src/d2deploy/{folder}/`" not in text) == []


def test_every_data_file_is_shipped():
    """A file that the package reads must be in the wheel, not only in this checkout."""
    globs = PROJECT["tool"]["setuptools"]["package-data"]["d2deploy"]
    shipped = {p for pattern in globs for p in PACKAGE.glob(pattern)}
    there = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert sorted(map(str, there - shipped)) == []
    assert [pattern for pattern in globs if not any(PACKAGE.glob(pattern))] == []


def test_everything_that_is_required_is_pinned():
    lines = (REPO / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    pinned = {normal(name) for name in pins}
    needed = {normal(r) for group in (PROJECT["project"]["dependencies"], *EXTRAS.values()) for r in group}
    assert needed - pinned == {"d2deploy"}


def normal(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def test_the_version_is_one():
    version = PROJECT["project"]["version"]
    assert d2deploy.__version__ == version
    assert f"## [{version}]" in (REPO / "CHANGELOG.md").read_text()


@pytest.fixture
def readers_folder(golden: Path, tmp_path: Path) -> Path:
    """What the reader of the documentation is supposed to have: a config, its weights, an image, a validation set."""
    for name in ("config.yaml", "model_final.pth"):
        shutil.copy(PACKAGE / "demo" / name, tmp_path)
    annotations = json.loads((golden / "shapes/annotations/instances_val.json").read_text())
    annotations["images"] = annotations["images"][:2]
    kept = {image["id"] for image in annotations["images"]}
    annotations["annotations"] = [a for a in annotations["annotations"] if a["image_id"] in kept]
    (tmp_path / "instances_val.json").write_text(json.dumps(annotations))
    (tmp_path / "val").mkdir()
    for image in annotations["images"]:
        shutil.copy(golden / "shapes/val" / image["file_name"], tmp_path / "val")
    shutil.copy(golden / "shapes/val" / annotations["images"][0]["file_name"], tmp_path / "street.jpg")
    return tmp_path


RUNNABLE = [p for p in PAGES if any(not s.is_skipped for s in steps(p.read_text()))]


def test_the_readme_is_run():
    ran = [s for s in steps((REPO / "README.md").read_text()) if not s.is_skipped]
    assert {"console", "python"} == {s.language for s in ran}
    verbs = ("export", "verify", "evaluate", "predict", "inspect", "formats")
    assert all(any(s.code.startswith(f"d2deploy {verb}") for s in ran) for verb in verbs)


@pytest.mark.parametrize("page", RUNNABLE, ids=page_id)
def test_code_runs(page, readers_folder):
    assert run_page(page.read_text(), readers_folder) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```console\n$ false\n```\n", "exit 1"),
        ("```console\n$ echo a\nb\n```\n", "printed\na"),
        ("```python\nprint(1)\n```\n```python\nassert 1 == 2\n```\n", "1 == 2"),
    ],
)
def test_code_that_does_not_run_is_found(text, message, tmp_path):
    with pytest.raises(AssertionError, match=message):
        run_page(text, tmp_path)


def test_code_runs_in_order_with_shared_names_and_skips(tmp_path):
    text = (
        "```python\nx = 1\n```\n```console\n$ make coffee\n$ echo one \\\n    two > x\n$ cat x\none ...\n```\n"
        "```python\nassert x == 1\n```\n"
    )
    assert [s.is_skipped for s in steps(text)] == [False, True, False, False, False]
    assert run_page(text, tmp_path) == 4
