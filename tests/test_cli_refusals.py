"""What the command line refuses or survives that only a person at a terminal comes upon: one line, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import d2deploy
from d2deploy.cli import main

PACKAGE = Path(d2deploy.__file__).parent
DEMO = PACKAGE / "demo"
IMAGE = DEMO / "images" / "000045.jpg"
CONFIG = ("--config-file", DEMO / "config.yaml")
NETWORK = (*CONFIG, "--weights", DEMO / "model_final.pth")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}


def in_a_process(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "d2deploy", *map(str, arguments)]
    return subprocess.run(command, env={**ENVIRONMENT, "PYTHONIOENCODING": "utf-8"}, **options)


EXPORT = ("--format", "onnx", "--output", "out")
SAME = "name the same place"
REFUSED = {
    "a misspelt command": (("exprot",), "No such command 'exprot'"),
    "a value of another kind": (("predict", "a", IMAGE, "--min-score", "x"), "'x' is not a valid float"),
    "an unset variable for a path": (("export", "--config-file", "", *EXPORT), "'--config-file': The path is empty"),
    "an unset variable for weights": (("export", *CONFIG, "--weights", "", *EXPORT), "'--weights': The path is empty"),
    "an empty format": (("export", *NETWORK, "--format", "onnx,", "--output", "out"), "There is no format ''"),
    "both results to stdout": (("predict", *NETWORK, "a.jpg", "--json", "-", "--coco-json", "-"), SAME),
    "both results to one file": (("predict", *NETWORK, "a.jpg", "--json", "x", "--coco-json", "x"), SAME),
    "a result over an image": (("predict", *NETWORK, "a.jpg", "--json", "./a.jpg"), "would be replaced"),
    "a result over a folder": (("predict", *NETWORK, "a.jpg", "--coco-json", "."), "it is a folder"),
    "metrics below a file": (("evaluate", *NETWORK, "--json", "a.jpg/x.json"), "a file is where a folder must be"),
    "an artifact among the images": (("predict", *NETWORK, "artifact"), "An artifact is given first"),
    "a picture that Pillow cannot write": (("predict", *NETWORK, "a.jpg", "--output", "a.xbm"), "Choose .png"),
    "two data sets": (
        ("evaluate", *NETWORK, "--dataset", "coco_2017_val", "--coco-json", "a", "--image-root", "b"),
        "or --dataset, not both",
    ),
    "no annotations for an export": (
        ("export", *NETWORK, *EXPORT, "--run-eval", "--coco-json", "none.json", "--image-root", "."),
        "none.json cannot be read",
    ),
    "a data set that is not there": (("evaluate", *NETWORK, "--dataset", "coco_2017_val"), "Set DETECTRON2_DATASETS"),
    "a threshold that is no number": (("predict", "artifact", "a.jpg", "--score-thresh", "nan"), "must be a number"),
    "a threshold beyond 1": (("predict", "artifact", "a.jpg", "--nms-thresh", "5"), "a number from 0 to 1"),
    "a name too long for a file": (("inspect", "a" * 300), "File name too long"),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    (tmp_path / "a.jpg").write_bytes(IMAGE.read_bytes())
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "manifest.json").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line and line != "predicting"]
    assert line.startswith("error: ") and words in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.jpg", "artifact", "manifest.json"]
    assert (tmp_path / "a.jpg").read_bytes() == IMAGE.read_bytes()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_memory_that_does_not_suffice(run, monkeypatch, error):
    def greedy(path):
        raise error

    monkeypatch.setattr("d2deploy.cli.listings.read_artifact", greedy)
    code, _, err = run("inspect", "somewhere")
    assert (code, err.startswith("error: The memory does not suffice")) == (2, True)


def test_another_runtime_error_is_a_bug(monkeypatch):
    def broken(path):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr("d2deploy.cli.listings.read_artifact", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        main(["inspect", "somewhere"])


def test_no_command_shows_the_help(run):
    code, out, err = run()
    assert code == 2
    assert "Commands:" in out + err and "error: " not in err


def test_a_full_disk_behind_stdout():
    with Path("/dev/full").open("wb") as full:
        done = in_a_process("formats", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ") and b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_file_name_that_is_no_text(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.jpg"
    Path(os.fsdecode(name)).write_bytes(IMAGE.read_bytes())
    done = in_a_process("predict", *NETWORK, tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"\\udcff.jpg: 27 detections" in done.stdout


def test_results_may_go_to_a_device(run):
    code, out, err = run("predict", *NETWORK, IMAGE, "--json", "/dev/null")
    assert (code, "27 detections" in out) == (0, True), err
    assert Path("/dev/null").is_char_device()


def test_an_address_keeps_its_slashes(run, tmp_path):
    code, _, err = run("predict", *CONFIG, "--weights", "ftp://nowhere/model.pth", IMAGE)
    assert code == 2
    assert "ftp://nowhere/model.pth" in err
