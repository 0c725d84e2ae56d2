"""The command line on the demo's model: what it prints, writes and exits with; and every bad input of a table."""

import io
import json
import os
import pickle
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import d2deploy
from d2deploy.backends import FORMATS
from d2deploy.cli import cli, main
from d2deploy.workflows import verify as verify_module

PACKAGE = Path(d2deploy.__file__).parent
DEMO = PACKAGE / "demo"
IMAGE = DEMO / "images" / "000045.jpg"
NETWORK = ("--config-file", DEMO / "config.yaml", "--weights", DEMO / "model_final.pth")
CLASSES = DEMO / "classes.txt"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of an error, checked to be that: exit code 2, nothing on stdout, no traceback."""
        assert self.code == 2, (self.out, self.err)
        assert self.out == ""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def run(capfd):
    """Runs the command line in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(int(exit.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """The folder of one export of the demo's model to both formats, made by the command line."""
    output = tmp_path_factory.mktemp("exported")
    formats = ("--format", "torchscript,onnx", "--class-names", CLASSES, "--output", output)
    with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as exit:
        main(["export", *map(str, (*NETWORK, *formats))])
    assert exit.value.code == 0
    (output / "stdout.txt").write_text(out.getvalue())
    return output


def test_export_writes_verified_artifacts(exported):
    out = (exported / "stdout.txt").read_text()
    for format in ("torchscript", "onnx"):
        assert f"{format} against eager: the same" in out
        manifest = json.loads((exported / format / "manifest.json").read_text())
        assert manifest["verification"]["ok"] is True
        rows = {row["image"]: row for row in manifest["verification"]["rows"]}
        assert {"one pixel wide", "blank", "batch [1/3]", "batch [2/3]", "batch [3/3]"} <= rows.keys()
        assert sum(row["pairs"] for row in rows.values()) > 100
        assert {tuple(row["size"]) for row in rows.values()} >= {(169, 251), (249, 182), (164, 1), (120, 160)}
    assert sorted(p.name for p in exported.iterdir()) == ["onnx", "stdout.txt", "torchscript"]


def test_inspect(run, exported):
    done = run("inspect", exported / "onnx")
    assert done.code == 0
    for words in ("GeneralizedRCNN, 8 classes", "circle, square", "images float32[N, 3, H, W]", "opset 18"):
        assert words in done.out
    assert "the same as eager on" in done.out
    assert "score > 0.05" in done.out


def test_verify_writes_its_verdict(run, exported):
    manifest = exported / "onnx" / "manifest.json"
    done = run("verify", exported / "onnx", *NETWORK, "--images", IMAGE)
    assert done.code == 0, done.err
    assert "onnx against eager: the same" in done.out
    assert [row["image"] for row in json.loads(manifest.read_text())["verification"]["rows"]] == ["000045.jpg"]


def test_verify_against_another_network_fails(run, exported, tmp_path):
    other = tmp_path / "onnx"
    other.mkdir()
    for file in (exported / "onnx").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    done = run("verify", other, *NETWORK, "--images", IMAGE, "-o", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.6")
    assert done.code == 1
    assert "DIFFERENT" in done.out
    assert "error: onnx is not proved equal to eager: thresholds score is 0.05 in the export and 0.6" in done.err
    assert json.loads((other / "manifest.json").read_text())["verification"]["ok"] is False
    assert "FAILED against eager" in run("inspect", other).out


@pytest.fixture(params=["eager", "torchscript", "onnx"])
def model(request, exported):
    """A model's arguments and its class names."""
    if request.param == "eager":
        return NETWORK, [str(number) for number in range(8)]
    return (exported / request.param,), CLASSES.read_text().split()


def test_predict(run, model, tmp_path, golden):
    arguments, names = model
    result, coco, picture = tmp_path / "result.json", tmp_path / "coco.json", tmp_path / "drawn.png"
    flags = ("--json", result, "--coco-json", coco, "--output", picture)
    done = run("predict", *arguments, IMAGE, *flags)
    assert done.code == 0, done.err
    (entry,) = json.loads(result.read_text())["images"]
    assert (entry["file"], entry["height"], entry["width"]) == (str(IMAGE), 169, 251)
    assert f"{IMAGE}: {len(entry['instances'])} detections" in done.out
    best = entry["instances"][0]
    assert best["class_name"] == names[best["class_id"]]
    assert best["mask"]["size"] == [169, 251]
    # Detectron2's own results of this image, best first.
    path = golden / "models/mask_rcnn/coco_instances_results.json"
    upstream = [record for record in json.loads(path.read_text()) if record["image_id"] == 45]
    ours = json.loads(coco.read_text())
    assert [record["image_id"] for record in ours] == [45] * len(upstream)
    np.testing.assert_allclose([r["score"] for r in ours], [r["score"] for r in upstream], atol=2e-4)
    np.testing.assert_allclose([r["bbox"] for r in ours], [r["bbox"] for r in upstream], atol=0.05)
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width / drawn.height == pytest.approx(251 / 169, rel=0.01)


def test_predict_a_folder_into_a_folder(run, exported, tmp_path):
    done = run("predict", exported / "onnx", DEMO / "images", "--output", tmp_path / "drawn")
    assert done.code == 0, done.err
    names = sorted(path.stem for path in (DEMO / "images").glob("*.jpg"))
    assert len(names) == 4
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"{name}.png" for name in names]
    assert done.out.count(" detections (") == 4


def test_predict_from_stdin_to_stdout(exported):
    command = [sys.executable, "-m", "d2deploy", "predict", str(exported / "onnx"), "-", "--json", "-"]
    done = subprocess.run(command, input=IMAGE.read_bytes(), capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["images"]
    assert entry["file"] == "-"
    assert entry["instances"][0]["class_name"] in CLASSES.read_text().split()


def test_evaluate(run, exported, golden, tmp_path):
    data = ("--coco-json", golden / "shapes/annotations/instances_val.json", "--image-root", golden / "shapes/val")
    done = run("evaluate", exported / "onnx", *data, "--limit", 3, "--json", tmp_path / "metrics.json")
    assert done.code == 0, done.err
    assert "Evaluation results for bbox" in done.out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["bbox"]["AP"] > 50
    assert metrics["segm"]["AP"] > 50


def test_evaluate_an_artifact_without_data(run, exported):
    done = run("evaluate", exported / "onnx")
    assert done.code == 2
    assert "Give --image-root and annotations" in done.err


def test_export_with_evaluation(run, golden, tmp_path):
    data = ("--coco-json", golden / "shapes/annotations/instances_val.json", "--image-root", golden / "shapes/val")
    flags = ("--format", "torchscript", "--output", tmp_path, "--no-verify", "--run-eval", "--limit", 3)
    done = run("export", *NETWORK, *flags, *data)
    assert done.code == 0, done.err
    assert "difference" in done.out
    assert "+0.000" in done.out
    assert "never" in run("inspect", tmp_path / "torchscript").out


def test_an_export_that_is_not_the_network_is_not_left_behind(run, tmp_path, monkeypatch):
    real = verify_module.verify

    def worse(artifact, **options):
        report = real(artifact, **{**options, "images": [IMAGE]})
        return type(report)(**{**vars(report), "faults": ("made up",)})

    monkeypatch.setattr("d2deploy.workflows.export.verify_artifact", worse)
    done = run("export", *NETWORK, "--format", "torchscript", "--output", tmp_path / "out")
    assert done.code == 1
    assert "error: torchscript is not proved equal to eager: made up" in done.err
    assert list((tmp_path / "out").iterdir()) == []


def test_formats(run):
    done = run("formats")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == list(FORMATS)


@pytest.mark.parametrize("command", [None, *cli.commands])
def test_help(run, command):
    done = run(*filter(None, [command]), "--help")
    assert done.code == 0
    assert "Usage: d2deploy" in done.out
    assert "Traceback" not in done.err


def test_version(run):
    assert d2deploy.__version__ in run("--version").out


# Usage: what click itself refuses, and what only the combination of options shows.
USAGE = {
    "no command": ((), ""),
    "unknown command": (("exprot",), "No such command 'exprot'"),
    "misspelt option": (
        ("export", *NETWORK, "--format", "onnx", "--output", "o", "--sampel-image", "x"),
        "--sample-image",
    ),
    "no format": (("export", *NETWORK, "--output", "o"), "Missing option '--format'"),
    "no network": (("export", "--format", "onnx", "--output", "o"), "Give --config-file"),
    "no artifact": (("evaluate",), "Give an artifact"),
    "two models": (("evaluate", "a", *NETWORK, "--coco-json", "a", "--image-root", "b"), "not both"),
    "predict: no images": (("predict", "out/onnx"), "Give an artifact and then images"),
    "predict: no images for the network": (("predict", *NETWORK), "images alone"),
    "predict: what an artifact has inside": (
        ("predict", "out/onnx", IMAGE, "--min-size", "0", "-o", "INPUT.FORMAT", "RGB"),
        "give --opts, --min-size to export",
    ),
    "half the data": (("evaluate", *NETWORK, "--coco-json", "a"), "Give --image-root, the folder"),
}


@pytest.mark.parametrize("case", USAGE.values(), ids=USAGE.keys())
def test_usage(run, case):
    arguments, words = case
    done = run(*arguments)
    assert done.code == 2
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err


class _Hostile:
    """Runs code when unpickled by anything but a careful reader."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return exec, (f"open({str(self.file)!r}, 'w').close()",)


@pytest.fixture
def bad(tmp_path) -> Path:
    """A folder with one of each kind of file that must be refused."""
    weights = (DEMO / "model_final.pth").read_bytes()
    (tmp_path / "truncated.pth").write_bytes(weights[: len(weights) // 2])
    (tmp_path / "truncated.pkl").write_bytes(pickle.dumps({"model": {"a": np.zeros(1000)}})[:500])
    (tmp_path / "empty.pth").write_bytes(b"")
    hostile = pickle.dumps({"model": _Hostile(tmp_path / "it_ran")})
    (tmp_path / "hostile.pkl").write_bytes(hostile)
    (tmp_path / "hostile.pth").write_bytes(hostile)
    (tmp_path / "hostile.yaml").write_text(f"MODEL: !!python/object/apply:os.system ['touch {tmp_path / 'it_ran'}']\n")
    (tmp_path / "broken.yaml").write_text("MODEL: [\n")
    (tmp_path / "unknown.yaml").write_text("MODEL:\n  RESNETS:\n    DEPHT: 50\nVERSION: 2\n")
    text = (DEMO / "config.yaml").read_text()
    assert "DEPTH: 50" in text
    (tmp_path / "r101.yaml").write_text(text.replace("DEPTH: 50", "DEPTH: 101"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.jpg").write_text("not an image")
    (tmp_path / "cut.jpg").write_bytes(IMAGE.read_bytes()[:3000])
    header = b"P6 100000 100000 255\n"
    (tmp_path / "enormous.ppm").write_bytes(header)
    (tmp_path / "used" / "onnx").mkdir(parents=True)
    (tmp_path / "used" / "onnx" / "thesis.txt").write_text("mine")
    return tmp_path


def export_of(*, config: object = DEMO / "config.yaml", weights: object = DEMO / "model_final.pth", **flags: object):
    """Arguments of an export; paths are relative to the folder of bad files."""
    given = {"format": "onnx", "output": "out", **flags}
    rest = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", value)]
    return ("export", "--config-file", config, "--weights", weights, *rest)


# name: (arguments, words of the message)
BAD = {
    "no config file": (export_of(config="none.yaml"), "none.yaml"),
    "no weights file": (export_of(weights="none.pth"), "none.pth"),
    "weights are a folder": (export_of(weights="empty"), "is a folder"),
    "weights are empty": (export_of(weights="empty.pth"), "is empty"),
    "weights are cut off": (export_of(weights="truncated.pth"), "truncated.pth"),
    "a pickle that is cut off": (export_of(weights="truncated.pkl"), "truncated.pkl"),
    "a pickle that runs code": (export_of(weights="hostile.pkl"), "hostile.pkl"),
    "a checkpoint that runs code": (export_of(weights="hostile.pth"), "hostile.pth"),
    "a config that runs code": (export_of(config="hostile.yaml"), "hostile.yaml"),
    "a config that is not YAML": (export_of(config="broken.yaml"), "broken.yaml"),
    "a config with an unknown key": (export_of(config="unknown.yaml"), "MODEL.RESNETS.DEPTH"),
    "weights of another network": (export_of(config="r101.yaml"), "backbone.bottom_up.res4.6"),
    "an unknown override": ((*export_of(), "MODEL.ROI_HEADS.SCORE_TRESH_TEST", "0.5"), "SCORE_THRESH_TEST"),
    "an override without value": ((*export_of(), "MODEL.MASK_ON"), "MODEL.MASK_ON"),
    "an override of another type": ((*export_of(), "MODEL.RESNETS.DEPTH", "deep"), "MODEL.RESNETS.DEPTH"),
    "an unknown format": (export_of(format="onxx"), "onxx"),
    "an unknown method": (export_of(method="guessing"), "guessing"),
    "an output in use": (export_of(output="used"), "--overwrite"),
    "an output that is a file": (export_of(output="notes.jpg"), "notes.jpg"),
    "too few class names": (export_of(class_names="a,b"), "8 classes"),
    "no sample image": (export_of(sample_image="none.jpg"), "none.jpg"),
    "a sample image that is none": (export_of(sample_image="notes.jpg"), "notes.jpg"),
    "no images to verify with": (export_of(images="empty"), "has no image in it"),
    "no artifact": (("inspect", "none"), "is not an artifact"),
    "predict: no artifact": (("predict", "none", IMAGE), "is not an artifact"),
    "predict: no image": (("predict", *NETWORK, "none.jpg"), "none.jpg does not exist"),
    "predict: no image in the folder": (("predict", *NETWORK, "empty"), "has no image in it"),
    "predict: unreadable": (("predict", *NETWORK, "notes.jpg", "--json", "o.json"), "notes.jpg"),
    "predict: cut off": (("predict", *NETWORK, "cut.jpg", "--json", "o.json"), "cut.jpg"),
    "predict: enormous": (("predict", *NETWORK, "enormous.ppm", "--json", "o.json"), "too large"),
    "predict: one picture for many": (
        ("predict", *NETWORK, IMAGE, IMAGE, "--output", "drawn.png"),
        "drawn.png is one picture",
    ),
    "predict: over its own image": (("predict", *NETWORK, "cut.jpg", "--output", "cut.jpg"), "would be replaced"),
    "verify: no image": (("verify", "used/onnx", *NETWORK, "--images", "none.jpg"), "is not an artifact"),
    "evaluate: no annotations": (
        ("evaluate", *NETWORK, "--coco-json", "none.json", "--image-root", "empty"),
        "none.json",
    ),
    "evaluate: the config's own data set": (("evaluate", *NETWORK), "shapes_val"),
    "evaluate: unknown data set": (("evaluate", *NETWORK, "--dataset", "cocoo_2017_val"), "cocoo_2017_val"),
    "a device that is none": (("predict", *NETWORK, IMAGE, "--device", "abacus"), "abacus"),
    "demo: output in use": (("demo", "--output", "used"), "--overwrite"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_input(run, bad, monkeypatch, case):
    monkeypatch.chdir(bad)
    before = {path: path.read_bytes() for path in bad.rglob("*") if path.is_file()}
    arguments, words = case
    message = run(*arguments).error()
    assert words in message
    assert {path: path.read_bytes() for path in bad.rglob("*") if path.is_file()} == before, "something was left"


FULL_DISK = """
import resource, signal, sys
from d2deploy.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
main(sys.argv[1:])
"""


def on_a_full_disk(*arguments: object) -> Outcome:
    """Runs the command line where no file can grow beyond a megabyte."""
    command = [sys.executable, "-c", FULL_DISK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_full_disk_while_exporting(tmp_path):
    done = on_a_full_disk("export", *NETWORK, "--format", "torchscript", "--output", tmp_path / "out", "--no-verify")
    assert "out" in done.error()
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "out"])


def test_a_full_disk_while_predicting(exported, tmp_path):
    big = tmp_path / "big.bmp"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)).save(big)
    done = on_a_full_disk("predict", exported / "onnx", big, "--output", tmp_path / "drawn.png")
    assert "drawn.png cannot be written" in done.error()
    assert list(tmp_path.iterdir()) == [big]


def test_an_interruption_is_no_traceback(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("d2deploy.cli.listings.read_artifact", interrupted)
    done = run("inspect", "somewhere")
    assert (done.code, "Traceback" in done.err) == (130, False)


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("d2deploy.cli.listings.read_artifact", broken)
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "somewhere"])
