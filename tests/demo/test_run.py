"""`d2deploy demo`, with one format to be quick; `make demo` runs it whole."""

import pytest

from d2deploy.artifact import read_artifact
from d2deploy.cli import main
from d2deploy.demo import run as module
from d2deploy.demo.run import load_demo_model, run_demo
from d2deploy.errors import Mismatch, OutputError
from d2deploy.image import read_image
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import verify


def test_the_bundled_model_knows_its_classes():
    model = load_demo_model()
    assert model.spec.class_names == ("circle", "square", "triangle", "star", "cross", "ring", "arrow", "diamond")


def test_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "FORMATS", {"torchscript": "TorchScript"})
    monkeypatch.setattr(module, "RUNS", 1)
    output = tmp_path / "demo"
    with pytest.raises(SystemExit) as exit:
        main(["demo", "--output", str(output)])
    assert exit.value.code == 0
    said = capsys.readouterr().out
    assert "torchscript against eager: the same" in said
    assert f"Open {output / 'report.html'}" in said
    text = (output / "report.html").read_text()
    assert "1 exports, the same detections" in text
    assert text.count('src="data:image/jpeg;base64,') == 2 * len(demo_images()) == 8
    names = {path.name for path in (output / "pictures").iterdir()}
    assert names == {f"{path.stem}-{model}.jpg" for path in demo_images() for model in ("network", "torchscript")}
    verification = read_artifact(output / "torchscript").manifest.verification
    assert verification is not None
    assert verification["ok"] is True
    _again_over_a_former_one(output, monkeypatch)


def _again_over_a_former_one(output, monkeypatch):
    """A former demo is replaced, only as a whole."""
    marker = output / "marker.txt"
    marker.touch()

    def broken(*_, **__):
        raise OutputError("no space")

    monkeypatch.setattr(module, "export", broken)
    with pytest.raises(OutputError, match="no space"):
        run_demo(output, say=lambda _: None)
    assert marker.exists()
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_an_export_that_differs_is_shown_and_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FORMATS", {"torchscript": "TorchScript"})
    monkeypatch.setattr(module, "RUNS", 1)

    def worse(artifact, *, against, images):
        report = verify(artifact, against=against, images=images[:1])
        return type(report)(**{**vars(report), "faults": ("made up",)})

    monkeypatch.setattr(module, "verify", worse)
    with pytest.raises(Mismatch, match="made up"):
        run_demo(tmp_path / "demo", say=lambda _: None)
    assert "NOT the same detections" in (tmp_path / "demo" / "report.html").read_text()


def test_somebody_s_folder_is_left_alone(tmp_path):
    (tmp_path / "report.html").write_text("<html>my thesis</html>")
    with pytest.raises(OutputError, match="--overwrite"):
        run_demo(tmp_path, say=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_images_are_portrait_and_landscape():
    shapes = {read_image(path).shape[:2] for path in demo_images()}
    assert any(height > width for height, width in shapes)
    assert any(height < width for height, width in shapes)
