"""predict's bookkeeping: which images, which picture of which, which ids. Running is shown in test_cli.py."""

from pathlib import Path

import pytest

from d2deploy.errors import ImageError, OutputError
from d2deploy.workflows.predict import Given, image_files, picture_paths


def given(*names: str) -> list[Given]:
    return [Given(name, b"" if name == "-" else Path(name)) for name in names]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "notes.txt", "deeper/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_its_images_by_name(folder):
    assert image_files([folder]) == [folder / "a.PNG", folder / "b.jpg"]
    assert image_files(["deeper", "b.jpg", "notes.txt"]) == [Path("deeper/c.jpg"), Path("b.jpg"), Path("notes.txt")]


@pytest.mark.parametrize(
    ("paths", "words"), [([], "No image"), (["empty"], "has no image"), (["b.jpg", "none.jpg"], "none.jpg")]
)
def test_no_images(folder, paths, words):
    with pytest.raises(ImageError, match=words):
        image_files(paths)


PICTURES = {
    "one image, one picture": ("o/drawn.jpg", ["x/a.png"], ["o/drawn.jpg"]),
    "one image, a folder": ("o", ["x/a.png"], ["o/a.png"]),
    "stdin": ("o", ["-"], ["o/stdin.png"]),
    "several": ("o", ["x/a.jpg", "b.gif"], ["o/a.png", "o/b.png"]),
    "equal names": ("o", ["x/a.jpg", "y/a.jpg", "a.gif"], ["o/a.png", "o/a-2.png", "o/a-3.png"]),
    "an ending that is no picture's": ("o.v1", ["a.jpg"], ["o.v1/a.png"]),
    "a folder that ends like a picture": ("empty.png", ["a.jpg"], ["empty.png/a.png"]),
}


@pytest.mark.parametrize("case", PICTURES.values(), ids=PICTURES.keys())
def test_where_pictures_go(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    Path("empty.png").mkdir()
    output, names, expected = case
    assert [path.as_posix() for path in picture_paths(Path(output), given(*names))] == expected


@pytest.mark.parametrize(
    ("output", "names", "words"),
    [
        ("o.png", ["a.jpg", "b.jpg"], "one picture, but 2 images"),
        ("a.jpg", ["a.jpg"], "would be replaced"),
        ("x", ["x/../x/a.png"], "would be replaced"),
        ("x", ["y/b.jpg", "x/b-2.png", "x/b.gif"], "would be replaced"),
    ],
)
def test_pictures_that_cannot_go_there(output, names, words):
    with pytest.raises(OutputError, match=words):
        picture_paths(Path(output), given(*names))
