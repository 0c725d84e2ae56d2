"""A program written for detectron2's own TorchScript exports runs ours."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from d2deploy.models.build import load_model
from d2deploy.workflows.export import export

DEMO = Path(__file__).parents[2] / "src" / "d2deploy" / "demo"
COMPILER = shutil.which("c++") or shutil.which("g++")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    torch_folder = Path(torch.__file__).parent
    built = tmp_path_factory.mktemp("signature") / "signature"
    command = [COMPILER, "-std=c++17", str(Path(__file__).with_name("signature.cpp")), "-o", str(built)]
    command += [f"-I{torch_folder / 'include'}", f"-I{torch_folder / 'include/torch/csrc/api/include'}"]
    command += [f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{torch_folder / 'lib'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built


@pytest.mark.parametrize("method", ["tracing", "scripting"])
def test_it_runs_and_finds_the_fields(method: str, program: Path, tmp_path: Path) -> None:
    # Noise: with a threshold of -1 the network names a hundred boxes in it.
    model = load_model(DEMO / "config.yaml", DEMO / "model_final.pth", score_thresh=-1.0)
    artifact = export(model, "torchscript", tmp_path / "out", method=method, signature="detectron2", verify=False)
    done = subprocess.run([program, artifact.file, method], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shapes = [tuple(map(int, re.findall(r"\d+", line))) for line in done.stdout.splitlines()]
    found = shapes[0][0]
    assert found > 10
    size = [(2,)] if method == "tracing" else []
    assert shapes == [(found, 4), (found,), (found, 1, 28, 28), (found,), *size]
