"""The C++ clients, built once for all processes in build/cpp, and the artifacts that they run."""

import base64
import importlib.util
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artifacts import make_once, shared_folder
from filelock import FileLock
from PIL import Image
from pycocotools import mask as rle

from d2deploy.artifact import Artifact
from d2deploy.backends.caffe2.runtime import runtime_python
from d2deploy.models.build import Model, load_model
from d2deploy.workflows.export import export

REPO = Path(__file__).parents[2]
BUILD = REPO / "build" / "cpp"
CAFFE2_BUILD = REPO / "build" / "cpp-caffe2"  # apart: the others need nothing that it needs
MODELS = {
    "demo": REPO / "src" / "d2deploy" / "demo",
    "keypoint_rcnn": REPO / "tests/golden/models/keypoint_rcnn",
    "panoptic_fpn": REPO / "tests/golden/models/panoptic_fpn",
}
PACKAGES = ("torch", "onnxruntime", "openvino")
NEEDED = "#include <cstdio>\n#include <jpeglib.h>\n#include <png.h>\n"

BOX, SCORE = 1e-3, 1e-5  # pixels (of keypoints, too), and a share
MASK = 2e-3  # share of a mask's pixels
REGION = 1e-3  # share of the picture's pixels
SURFACE = 5e-3  # share of a surface's pixels

Tool = Callable[[str], Path]


def find_compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)


def what_is_missing() -> str | None:
    """Why the clients cannot be built here; None: they can, and must."""
    if not shutil.which("cmake"):
        return "cmake is not installed"
    if not (found := find_compiler()):
        return "there is no C++ compiler"
    seen = subprocess.run([found, "-x", "c++", "-E", "-"], input=NEEDED, capture_output=True, text=True)
    if seen.returncode:
        return "libjpeg's or libpng's headers are missing (Debian: libjpeg62-turbo-dev, libpng-dev)"
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else None


def options() -> dict[str, str]:
    """CMake's variables for the clients of what is installed beside d2deploy."""
    spec = importlib.util.find_spec("torch")
    site = Path((spec.submodule_search_locations or [""])[0]).parent
    return {"D2DEPLOY_PYTHON_SITE:PATH": str(site), "D2DEPLOY_CHECK:BOOL": "ON"}


def caffe2_options(python: Path) -> dict[str, str]:
    """CMake's variables for the client of a Caffe2, alone."""
    others = {f"D2DEPLOY_{name}:BOOL": "OFF" for name in ("TORCHSCRIPT", "ONNXRUNTIME", "OPENVINO")}
    return {"D2DEPLOY_CAFFE2_PYTHON:FILEPATH": str(python.absolute()), **others}


def build(folder: Path, given: dict[str, str]) -> None:
    """Build the clients in `folder`, anew where it was for other places, whose libraries CMake remembers."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}={value}" for name, value in given.items()]
    cache_file = folder / "CMakeCache.txt"
    with FileLock(folder.with_suffix(".lock")):
        if cache_file.is_file() and not set(lines) <= set(cache_file.read_text().splitlines()):
            cache_file.unlink()
        generator = ["-G", "Ninja"] if shutil.which("ninja") and not cache_file.is_file() else []
        configure = ["cmake", *generator, "-S", str(REPO / "cpp"), "-B", str(folder), *(f"-D{line}" for line in lines)]
        for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
            run = subprocess.run(command, capture_output=True, text=True)
            assert run.returncode == 0, f"{' '.join(command)}\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}"


@cache
def build_caffe2() -> None:
    """Build Caffe2's client; skip where there is no Caffe2."""
    if (python := runtime_python()) is None:
        pytest.skip("no Caffe2 runtime here: make test-caffe2")
    build(CAFFE2_BUILD, caffe2_options(python))


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Function: name of a program -> its path. Skips where it cannot be built, fails where it does not build."""
    if missing := what_is_missing():
        pytest.skip(f"C++ clients: {missing}")
    build(BUILD, options())

    def path(name: str) -> Path:
        if name == "caffe2":
            build_caffe2()
        return (CAFFE2_BUILD if name == "caffe2" else BUILD) / f"d2deploy_{name}"

    return path


@pytest.fixture(scope="session")
def check(tool: Tool) -> Callable[..., bytes]:
    """Function: words for d2deploy_check, and what it is given on stdin -> what it prints."""

    def run(*words: Any, given: bytes = b"") -> bytes:
        ran = subprocess.run([tool("check"), *map(str, words)], input=given, capture_output=True, timeout=300)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout

    return run


@pytest.fixture(scope="session")
def compiler() -> str | None:
    """The C++ compiler; None: there is none, and `tool` skips."""
    return find_compiler()


@cache
def model(name: str) -> Model:
    folder = MODELS[name]
    classes = (folder / "classes.txt").read_text().split() if (folder / "classes.txt").is_file() else None
    return load_model(folder / "config.yaml", folder / "model_final.pth", class_names=classes)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, network: Callable[[str], Model]) -> Callable[..., Artifact]:
    """Function: model or family of tests/matrix, "format-method", export's options -> its artifact, made at the first
    call for all processes."""

    @cache
    def make(name: str, kind: str, **options: Any) -> Artifact:
        def write(format: str, method: str, place: Path) -> Artifact:
            of = model if name in MODELS else network
            return export(of(name), format, place, method=method, verify=False, **options)

        # The demo's lie where tests/backends/conftest.py has them: a run makes each of them once.
        return make_once(shared_folder(tmp_path_factory), "-".join([name, *options]), kind, write)

    return make


@pytest.fixture(scope="session")
def check_same() -> Callable[[Any, Any], int]:
    """Function: checks that the entries of two JSON results say the same; how many rows they have."""
    return _check_same


def _check_rows(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(a.get("box", ()), b.get("box", ()), rtol=0, atol=BOX)
        points, expected = (np.reshape(row.get("keypoints", ()), (-1, 3)) for row in (a, b))
        np.testing.assert_allclose(points[:, :2], expected[:, :2], rtol=0, atol=BOX)
        np.testing.assert_allclose(points[:, 2], expected[:, 2], rtol=SCORE, atol=SCORE)
        for name in a.keys() & {"score", "objectness_logit"}:
            assert abs(a[name] - b[name]) <= SCORE
        for name in a.keys() & {"class_id", "class_name", "id", "isthing", "instance_id"}:
            assert a[name] == b[name]
        if "mask" in a:
            _check_mask(a["mask"], b["mask"], is_region="area" in a)
        if "densepose" in a:
            _check_surface(a["densepose"], b["densepose"])


def _check_mask(ours: dict[str, Any], theirs: dict[str, Any], *, is_region: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' use of numpy
        a, b = rle.decode(ours), rle.decode(theirs)
    assert a.shape == b.shape
    assert np.count_nonzero(a != b) <= max(1, REGION * b.size if is_region else MASK * np.count_nonzero(b))


def _check_surface(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Parts or vertices are the same but for ties; where they are, so are u and v but for the last digit."""
    assert ours.keys() == theirs.keys()
    assert [ours.get(name) for name in ("x", "y", "mesh")] == [theirs.get(name) for name in ("x", "y", "mesh")]
    (name,) = ours.keys() & {"labels_uv", "vertices"}
    a, b = (np.asarray(Image.open(BytesIO(base64.b64decode(row[name])))).astype(int) for row in (ours, theirs))
    assert a.shape == b.shape
    label = slice(1) if name == "labels_uv" else slice(3)
    is_same = (a[..., label] == b[..., label]).all(axis=-1)
    assert np.count_nonzero(~is_same) <= SURFACE * is_same.size
    assert np.abs(a - b)[is_same].max(initial=0) <= 1


def _check_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> int:
    assert len(ours) == len(theirs)
    count = 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            if isinstance(value, list):
                _check_rows(a[name], value)
                count += len(value)
            else:
                assert a[name] == value
    return count
