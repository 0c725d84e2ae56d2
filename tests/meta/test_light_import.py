"""Who wants only to run an artifact loads only what that needs. Each check is a fresh process."""

import subprocess
import sys
from pathlib import Path

import d2deploy

HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "openvino", "pycocotools"}
ROOMS_OF_TORCH = {"models", "ops", "backends", "modeling"}
ROOT = Path(d2deploy.__file__).parent


def heavy_after(*modules: str, heavy: set[str]) -> dict[str, list[str]]:
    """Which of `heavy` are loaded after the import of each module in turn, in one new process."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1].split():\n"
        "    importlib.import_module(name)\n"
        "    print(name, *sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[2].split())))\n"
    )
    command = [sys.executable, "-c", script, " ".join(modules), " ".join(heavy)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(lines) == len(modules)
    return {name: loaded for name, *loaded in map(str.split, lines)}


def light_modules() -> list[str]:
    """Every module outside the rooms of torch; and `backends`, whose table of formats must be readable anywhere."""
    files = [p.relative_to(ROOT.parent).with_suffix("") for p in sorted(ROOT.rglob("*.py"))]
    light = [p for p in files if p.parts[1] not in ROOMS_OF_TORCH and p.name != "__main__"]
    names = [".".join(p.parts).removesuffix(".__init__") for p in light]
    return [*names, "d2deploy.backends"]


def test_the_package_itself_loads_nothing():
    everything = HEAVY | {"numpy", "PIL", "yaml", "click", "tabulate"}
    assert heavy_after("d2deploy", heavy=everything) == {"d2deploy": []}


def test_predicting_loads_no_torch():
    assert heavy_after("d2deploy", "d2deploy.predictor", heavy=HEAVY)["d2deploy.predictor"] == []


def test_help_loads_no_torch():
    command = [sys.executable, "-X", "importtime", "-m", "d2deploy", "--help"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()


def test_no_module_outside_the_rooms_of_torch_loads_a_heavy_package():
    modules = light_modules()
    assert {"d2deploy.predictor", "d2deploy.runner", "d2deploy.config.schema"} <= set(modules)
    after = heavy_after(*modules, heavy=HEAVY)
    assert {name: loaded for name, loaded in after.items() if loaded} == {}


def test_the_check_can_fail():
    assert heavy_after("json", "yaml", heavy={"yaml"}) == {"json": [], "yaml": ["yaml"]}
