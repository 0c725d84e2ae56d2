"""predict's bookkeeping: which images, which picture of which, which ids. Running is shown in test_cli.py."""

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from d2deploy.errors import ImageError, OutputError
from d2deploy.results import Instances, PanopticResult, Proposals, Segment, SemanticResult
from d2deploy.workflows import predict as module
from d2deploy.workflows.predict import Given, check_targets, given_images, image_files, image_ids, picture_paths


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
    ("paths", "words"),
    [
        ([], "No image"),
        (["empty"], "has no image"),
        (["b.jpg", "none.jpg"], "none.jpg"),
        (["b.jpg", "artifact"], "artifact is an artifact, where images must be"),
    ],
)
def test_no_images(folder, paths, words):
    (folder / "artifact").mkdir()
    (folder / "artifact" / "manifest.json").touch()
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
        ("o.xbm", ["a.jpg"], "cannot be a .xbm file: .*Choose .png"),
        ("o.h5", ["a.jpg"], "cannot be a .h5 file"),
    ],
)
def test_pictures_that_cannot_go_there(output, names, words):
    with pytest.raises(OutputError, match=words):
        picture_paths(Path(output), given(*names))


def test_results_that_would_replace_an_image(folder):
    check_targets([Path("new/result.json"), Path("notes.txt")], given("a.PNG", "-"))
    for target, words in (("deeper/../a.PNG", "is one of the images"), ("deeper", "it is a folder")):
        with pytest.raises(OutputError, match=words):
            check_targets([Path(target)], given("a.PNG", "-"))


@pytest.mark.parametrize("paths", [["-"], ["-", "-"], ["-", "b.jpg"]])
def test_an_image_on_stdin_comes_once_and_last(folder, monkeypatch, paths):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(b"image")))
    files = [Given("b.jpg", Path("b.jpg"))] if "b.jpg" in paths else []
    assert given_images([Path(path) for path in paths]) == [*files, Given("-", b"image")]


def test_an_empty_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO()))
    with pytest.raises(ImageError, match="stdin, which - stands for, is empty"):
        given_images([Path("-")])


IDS = {
    "numbers": (["x/000045.jpg", "7.png"], [45, 7]),
    "not all are numbers": (["7.jpg", "cat.jpg"], [1, 2]),
    "a name that is another's place": (["cat.jpg", "1.jpg"], [1, 2]),
    "the same number twice": (["a/5.jpg", "b/05.jpg"], [1, 2]),
    "a number too long for other programs": (["123456789012345678901234567890.jpg"], [1]),
    "stdin": (["-"], [1]),
}


@pytest.mark.parametrize(("names", "expected"), IDS.values(), ids=IDS)
def test_every_image_has_an_id_of_its_own(names, expected):
    assert image_ids(given(*names)) == expected


LOGITS = np.stack([np.full((4, 10), 0.5), np.linspace(0, 0.75, 10) * np.ones((4, 1))]).astype(np.float32)
SEMANTIC = SemanticResult(image_size=(4, 10), logits=LOGITS)
INSTANCES = Instances(
    image_size=(4, 10),
    pred_boxes=np.array([[0, 0, 4, 4], [0, 0, 2, 2], [1, 1, 5, 4]], np.float32),
    scores=np.array([0.9, 0.8, 0.7], np.float32),
    pred_classes=np.array([1, 0, 1]),
)
FOUND = {
    "3 detections (2 dog, 1 cat)": INSTANCES,
    "0 detections": INSTANCES[:0],
    "2 proposals": Proposals(
        image_size=(4, 10), proposal_boxes=INSTANCES.pred_boxes[:2], objectness_logits=np.array([1, 0], np.float32)
    ),
    "2 classes (70% things, 30% sky)": SEMANTIC,
    "3 segments (2 dog, sky)": PanopticResult(
        image_size=(4, 10),
        panoptic_seg=np.array([[0, 1, 2, 3, 3, 3, 3, 3, 3, 3]] * 4, np.int32),
        segments=tuple(Segment(id=i, is_thing=i < 3, category_id=1) for i in (1, 2, 3)),
        sem_seg=SEMANTIC,
        instances=None,
    ),
}


@pytest.mark.parametrize("line", FOUND)
def test_every_kind_of_result_is_written_and_drawn(line, tmp_path, monkeypatch):
    class Fake:
        spec = SimpleNamespace(
            class_names=("cat", "dog"),
            sem_seg_names=("things", "sky"),
            class_name=("cat", "dog").__getitem__,
            channel_name=("things", "sky").__getitem__,
        )

        def __init__(self, source, *, device):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self, image):
            return FOUND[line]

    monkeypatch.setattr(module, "Predictor", Fake)
    Image.new("RGB", (10, 4)).save(tmp_path / "a.png")
    found = module.predict("model", [Given("a.png", tmp_path / "a.png")], output=tmp_path / "drawn.png")
    assert found.lines == [f"a.png: {line} -> {tmp_path / 'drawn.png'}"]
    assert (tmp_path / "drawn.png").stat().st_size > 100
    assert found.images[0]["file"] == "a.png"
    assert json.loads(json.dumps(found.images)) == found.images
    assert json.loads(json.dumps(found.coco)) == found.coco


def test_a_line_ends_somewhere():
    many = SemanticResult(image_size=(1, 50), logits=np.eye(50, dtype=np.float32)[:, None])
    spec: Any = SimpleNamespace(channel_name=str)
    line = module._summary(many, spec)
    assert line.startswith("50 classes (2% ") and line.endswith(", and 38 more)")
