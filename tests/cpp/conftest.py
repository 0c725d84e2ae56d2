"""The C++ clients, built once for all processes in build/cpp, and the artifacts that they run."""

import importlib.util
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from pycocotools import mask as rle

from d2deploy.artifact import Artifact, read_artifact
from d2deploy.models.build import Model, load_model
from d2deploy.workflows.export import export

REPO = Path(__file__).parents[2]
BUILD = REPO / "build" / "cpp"
MODELS = {
    "demo": REPO / "src" / "d2deploy" / "demo",
    "keypoint_rcnn": REPO / "tests/golden/models/keypoint_rcnn",
    "panoptic_fpn": REPO / "tests/golden/models/panoptic_fpn",
}
PACKAGES = ("torch", "onnxruntime", "openvino")
NEEDED = "#include <cstdio>\n#include <jpeglib.h>\n#include <png.h>\n"

BOX, SCORE = 1e-3, 1e-5  # pixels (of keypoints, too), and a share; issue 4
MASK = 2e-3  # share of a mask's pixels
REGION = 1e-3  # share of the picture's pixels

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


def configure() -> list[str]:
    spec = importlib.util.find_spec("torch")
    site = Path((spec.submodule_search_locations or [""])[0]).parent
    cache_file = BUILD / "CMakeCache.txt"
    if cache_file.is_file() and f"D2DEPLOY_PYTHON_SITE:PATH={site}\n" not in cache_file.read_text():
        cache_file.unlink()  # of another environment, whose libraries it remembers
    generator = ["-G", "Ninja"] if shutil.which("ninja") and not cache_file.is_file() else []
    options = [f"-DD2DEPLOY_PYTHON_SITE={site}", "-DD2DEPLOY_CHECK=ON"]
    return ["cmake", *generator, "-S", str(REPO / "cpp"), "-B", str(BUILD), *options]


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Function: name of a program -> its path. Skips where it cannot be built, fails where it does not build."""
    if missing := what_is_missing():
        pytest.skip(f"C++ clients: {missing}")
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD.with_suffix(".lock")):
        for command in (configure(), ["cmake", "--build", str(BUILD), "--parallel", "2"]):
            run = subprocess.run(command, capture_output=True, text=True)
            assert run.returncode == 0, f"{' '.join(command)}\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}"
    return lambda name: BUILD / f"d2deploy_{name}"


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
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Function: model, "format-method", export's options -> its artifact, made at the first call for all processes."""

    @cache
    def make(name: str, kind: str, **options: Any) -> Artifact:
        format, method = kind.split("-")
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent
        # The demo's lie where tests/backends/conftest.py has them: a run makes each of them once.
        place = root / "-".join([*([name] if name != "demo" else []), kind, *options])
        with FileLock(place.with_name(f"{place.name}.lock")):
            if place.exists():
                return read_artifact(place)
            return export(model(name), format, place, method=method, verify=False, **options)

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


def _check_mask(ours: dict[str, Any], theirs: dict[str, Any], *, is_region: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' use of numpy
        a, b = rle.decode(ours), rle.decode(theirs)
    assert a.shape == b.shape
    assert np.count_nonzero(a != b) <= max(1, REGION * b.size if is_region else MASK * np.count_nonzero(b))


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
