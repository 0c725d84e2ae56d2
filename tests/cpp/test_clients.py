"""The C++ clients give what Python gives on the same artifact, and refuse what Python refuses."""

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from d2deploy.artifact import SCHEMA
from d2deploy.backends import FORMATS
from d2deploy.backends.caffe2.messages import read_net
from d2deploy.workflows.predict import given_images, predict

REPO = Path(__file__).parents[2]
PICTURES = [
    *sorted((REPO / "src/d2deploy/demo/images").glob("*.jpg")),
    *sorted((REPO / "tests/golden/shapes/val").glob("*.jpg"))[3:5],
][:5]

PROGRAMS = {"torchscript": "torchscript", "onnx": "onnxruntime", "openvino": "openvino", "caffe2": "caffe2"}
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if row.name in PROGRAMS for method in row.methods]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five images of different sizes, as PNG: JPEG decoders differ."""
    folder = tmp_path_factory.mktemp("images")
    files = [folder / f"{picture.stem}.png" for picture in PICTURES]
    for picture, file in zip(PICTURES, files, strict=True):
        Image.open(picture).save(file)
    return files


def run(program: Path, *words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=300)


def client_json(program: Path, artifact: Path, images: list[Path]) -> list[dict[str, Any]]:
    ran = run(program, artifact, *images, "--json", "-")
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)["images"]


@pytest.mark.parametrize("kind", KINDS)
def test_json_equals_pythons(kind, tool, exported, images, check_same):
    program = tool(PROGRAMS[kind.partition("-")[0]])
    artifact = exported("demo", kind)
    ours, theirs = client_json(program, artifact.path, images), predict(artifact, given_images(images)).images
    assert check_same(ours, theirs) > 50


@pytest.mark.parametrize("format", ["torchscript", "caffe2"])
@pytest.mark.parametrize("name", ["keypoint_rcnn", "panoptic_fpn"])
def test_other_networks(name, format, tool, exported, images, check_same):
    program = tool(PROGRAMS[format])
    artifact = exported(name, f"{format}-tracing")
    ours, theirs = client_json(program, artifact.path, images), predict(artifact, given_images(images)).images
    assert check_same(ours, theirs) > 20


@pytest.mark.parametrize("format", ["torchscript", "caffe2"])
@pytest.mark.parametrize("name", ["dense pose", "dense pose, meshes"])
def test_surfaces(name, format, tool, exported, images, check_same):
    program = tool(PROGRAMS[format])
    artifact = exported(name, f"{format}-tracing")
    two = images[:2]
    ours, theirs = client_json(program, artifact.path, two), predict(artifact, given_images(two)).images
    assert check_same(ours, theirs) > 20
    assert all("densepose" in row for image in ours for row in image["instances"])


WHOLE = {"include_preprocess": True, "include_postprocess": True}
# Other contracts: model, format and method, export's options.
CONTRACTS = [
    ("demo", "torchscript-scripting", {"outputs": "padded"}),
    ("demo", "torchscript-tracing", {"include_preprocess": True}),
    ("keypoint_rcnn", "torchscript-tracing", {"include_postprocess": True}),
    ("panoptic_fpn", "torchscript-tracing", {"outputs": "padded"}),
    ("panoptic_fpn", "torchscript-tracing", WHOLE),
    ("demo", "onnx-tracing", {"threshold_inputs": True, **WHOLE}),
    ("demo", "openvino-tracing", {"threshold_inputs": True, **WHOLE}),
]


@pytest.mark.parametrize(("name", "kind", "options"), CONTRACTS, ids=str)
def test_other_contracts(name, kind, options, tool, exported, images, check_same):
    artifact = exported(name, kind, **options)
    program = tool(PROGRAMS[artifact.format])
    ours, theirs = client_json(program, artifact.path, images), predict(artifact, given_images(images)).images
    assert check_same(ours, theirs) > 20


@pytest.mark.parametrize("format", ["onnx", "caffe2"])
def test_nothing_found(format, tool, exported, tmp_path):
    program = tool(PROGRAMS[format])
    artifact = exported("demo", f"{format}-tracing")
    Image.new("RGB", (40, 30), (120, 120, 120)).save(tmp_path / "blank.png")
    (ours,) = client_json(program, artifact.path, [tmp_path / "blank.png"])
    (theirs,) = predict(artifact, given_images([tmp_path / "blank.png"])).images
    assert ours == theirs
    assert ours["instances"] == []


def test_pictures(tool, exported, images, tmp_path):
    artifact, program = exported("demo", "onnx-tracing"), tool("onnxruntime")
    pictures = tmp_path / "new" / "pictures"
    ran = run(program, artifact.path, images[0], images[1], "--output", pictures, "--json", tmp_path / "a.json")
    assert ran.returncode == 0, ran.stderr
    assert sorted(p.name for p in pictures.iterdir()) == sorted(image.name for image in images[:2])
    assert [line.partition(": ")[0] for line in ran.stdout.splitlines()] == [str(image) for image in images[:2]]
    assert len(json.loads((tmp_path / "a.json").read_text())["images"]) == 2
    assert (
        run(program, artifact.path, images[0], "--output=" + str(tmp_path / "p.png"), "--min-score", 2).returncode == 0
    )
    plain, drawn = np.asarray(Image.open(tmp_path / "p.png")), np.asarray(Image.open(pictures / images[0].name))
    original = Image.open(images[0])
    enlarged = original.resize((plain.shape[1], plain.shape[0]), Image.Resampling.BILINEAR)
    assert plain.shape[0] % original.height == 0
    assert (plain == np.asarray(enlarged)).all()
    assert plain.shape == drawn.shape
    assert 0.02 < (plain != drawn).any(axis=2).mean() < 0.9


def break_manifest(folder: Path, change: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def model_file(folder: Path) -> Path:
    return folder / json.loads((folder / "manifest.json").read_text())["file"]


def replace(file: Path, data: bytes) -> None:
    """Other bytes, and yet the file that the manifest says."""
    file.write_bytes(data)
    digest = sha256(data).hexdigest()
    break_manifest(file.parent, lambda manifest: manifest["hashes"].update({file.name: digest}))


def changed_byte(folder: Path) -> None:
    data = bytearray(model_file(folder).read_bytes())
    data[len(data) // 2] ^= 1
    model_file(folder).write_bytes(data)


def set_field(*path: str | int, value: Any) -> Any:
    def change(manifest: Any) -> None:
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = value

    return lambda folder: break_manifest(folder, change)


PROPOSALS = {"name": "proposal_boxes", "shape": ["N", "P", 4], "dtype": "float32"}
BAD_ARTIFACTS = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "is not an artifact"),
    "no JSON": (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read as a manifest"),
    "no text": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\0"), "cannot be read as a manifest"),
    "deep": (lambda folder: (folder / "manifest.json").write_text("[" * 10**6), "cannot be read as a manifest"),
    "newer schema": (set_field("schema", value=SCHEMA + 1), f"has schema {SCHEMA + 1}"),
    "field missing": (lambda folder: break_manifest(folder, lambda m: m["spec"].pop("preprocess")), "preprocess"),
    "field of another type": (set_field("spec", "preprocess", "min_size", value="large"), "min_size is not"),
    "field out of range": (set_field("spec", "preprocess", "size_divisor", value=-1), "size_divisor is out of range"),
    "unknown format": (set_field("format", value="coreml"), "has the format coreml"),
    "file outside": (set_field("hashes", "../x", value="0"), "names files outside"),
    "file without hash": (set_field("file", value="other.onnx"), "a model file without a hash"),
    "file missing": (lambda folder: model_file(folder).unlink(), " is missing. Export again"),
    "changed byte": (changed_byte, "is not the file that was exported"),
    "no model": (lambda folder: replace(model_file(folder), b"no model"), "cannot be loaded by"),
    "detectron2's signature": (
        set_field("options", "signature", value="detectron2"),
        "has the signature of detectron2",
    ),
    "takes proposals": (
        lambda folder: break_manifest(folder, lambda m: m["spec"]["inputs"].append(PROPOSALS)),
        "takes proposal_boxes, which this program cannot make",
    ),
    "meshes without vertices": (
        set_field("spec", "meshes", value=[{"name": "cat_50", "num_vertices": 50, "classes": [0]}]),
        "meshes is out of range",
    ),
    "unknown outputs": (set_field("spec", "outputs", 0, "name", value="depth"), "make no result"),
    "output missing": (
        lambda folder: break_manifest(
            folder, lambda m: m["spec"]["outputs"].append({"name": "depth", "shape": ["D"], "dtype": "float32"})
        ),
        "depth",
    ),
}


@pytest.mark.parametrize("format", ["onnx", "caffe2"])
@pytest.mark.parametrize("case", BAD_ARTIFACTS)
def test_a_bad_artifact_is_refused(case, format, tool, exported, images, tmp_path):
    damage, message = BAD_ARTIFACTS[case]
    program = tool(PROGRAMS[format])
    folder = tmp_path / "artifact"
    shutil.copytree(exported("demo", f"{format}-tracing").path, folder)
    damage(folder)
    ran = run(program, folder, images[0], "--json", tmp_path / "a.json", "--output", tmp_path / "a.png")
    assert message in ran.stderr
    assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1
    assert ran.returncode == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["artifact"]


def test_the_program_of_another_format_is_named(tool, exported, images, tmp_path):
    shutil.copytree(exported("demo", "onnx-tracing").path, tmp_path / "artifact")
    for format in PROGRAMS.keys() - {"onnx"}:
        set_field("format", value=format)(tmp_path / "artifact")
        ran = run(tool("onnxruntime"), tmp_path / "artifact", images[0])
        assert ran.returncode == 2
        assert f"has the format {format}; d2deploy_onnxruntime runs onnx. Run d2deploy_{PROGRAMS[format]}" in ran.stderr


def other_net(file: Path, change: Any) -> None:
    net = read_net(file)
    change(net)
    replace(file, net.SerializeToString())


def set_group(net: Any) -> None:
    conv = next(op for op in net.op if op.type == "Conv")
    next(arg for arg in conv.arg if arg.name == "group").i = 7


# What is done to model.pb and model_init.pb, and what is said.
BAD_NETS = {
    "no weights file": (lambda net, init: init.unlink(), "model_init.pb is missing"),
    "weights that are no net": (
        lambda net, init: replace(init, b"no model"),
        "model_init.pb cannot be loaded by Caffe2",
    ),
    "no weights": (lambda net, init: replace(init, b""), "model.pb cannot be loaded by Caffe2"),
    "no operators": (lambda net, init: replace(net, b""), "model.pb cannot be loaded by Caffe2"),
    "output missing": (
        lambda net, init: break_manifest(
            net.parent, lambda m: m["spec"]["outputs"].append({"name": "center", "shape": ["N"], "dtype": "float32"})
        ),
        "gives no center, which its manifest promises",
    ),
    "unknown operator": (
        lambda net, init: other_net(net, lambda net: setattr(net.op[-1], "type", "Guess")),
        "model.pb cannot be loaded by Caffe2",
    ),
    "operator that fails": (lambda net, init: other_net(net, set_group), "model.pb cannot be run by Caffe2"),
}


@pytest.mark.parametrize("case", BAD_NETS)
def test_a_bad_caffe2_net_is_refused(case, tool, exported, images, tmp_path):
    damage, message = BAD_NETS[case]
    program = tool("caffe2")
    folder = tmp_path / "artifact"
    shutil.copytree(exported("demo", "caffe2-tracing").path, folder)
    damage(folder / "model.pb", folder / "model_init.pb")
    ran = run(program, folder, images[0], "--json", tmp_path / "a.json")
    assert message in ran.stderr
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("format", ["torchscript", "openvino"])
def test_other_runtimes_refuse_what_is_no_model(format, tool, exported, images, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(exported("demo", f"{format}-tracing").path, folder)
    replace(model_file(folder), b"no model")
    ran = run(tool(PROGRAMS[format]), folder, images[0])
    assert ran.returncode == 2
    assert "cannot be loaded" in ran.stderr.splitlines()[-1]  # OpenVINO's readers have said something before


def test_outputs_that_are_not_as_promised_are_refused(tool, exported, images, tmp_path):
    """TorchScript's have no names: the manifest's order says which is which."""
    folder = tmp_path / "artifact"
    shutil.copytree(exported("demo", "torchscript-tracing").path, folder)
    break_manifest(folder, lambda manifest: manifest["spec"]["outputs"].reverse())
    ran = run(tool("torchscript"), folder, images[0])
    assert ran.returncode == 2
    assert "that its manifest does not promise" in ran.stderr


def image_cases(folder: Path, image: Path) -> dict[str, tuple[list[Any], str]]:
    """Name -> the words after the artifact, and what is said."""
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes(image.read_bytes()[:2000])
    Image.open(image).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:1500])
    copy = folder / "copy.png"
    shutil.copy(image, copy)
    return {
        "missing": ([folder / "none.png"], "none.png does not exist"),
        "a folder": ([folder], "is a folder"),
        "no image": ([folder / "text.png"], "is neither a PNG nor a JPEG"),
        "cut PNG": ([folder / "cut.png"], "is damaged"),
        "cut JPEG": ([folder / "cut.jpg"], "is damaged"),
        "second missing": ([image, folder / "none.png", "--json", folder / "a.json"], "none.png does not exist"),
        "picture on image": ([copy, "--output", copy], "would be replaced"),
        "JSON on image": ([copy, "--json", copy], "would be replaced"),
        "JSON on folder": ([image, "--json", folder], "it is a folder"),
        "JSON beneath file": ([image, "--json", copy / "a.json"], "a file is where a folder must be"),
        "several on one": ([image, copy, "--output", folder / "a.png"], "is one picture, but 2 images"),
        "other picture": ([image, "--output", folder / "a.jpg"], "pictures are PNG"),
        "no images": ([], "Give an artifact and then images. See"),
        "unknown option": ([image, "--jsn", "x"], "no option --jsn"),
        "no value": ([image, "--json"], "--json needs a value"),
        "no number": ([image, "--min-score", "high"], "needs a number, not 'high'"),
    }


def test_bad_images_and_words_are_refused(tool, exported, images, tmp_path):
    artifact = exported("demo", "onnx-tracing").path
    cases = image_cases(tmp_path, images[0])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name, (words, message) in cases.items():
        ran = run(tool("onnxruntime"), artifact, *words)
        assert message in ran.stderr, name
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), name
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_help(tool):
    ran = run(tool("openvino"), "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: d2deploy_openvino ARTIFACT IMAGE...")
