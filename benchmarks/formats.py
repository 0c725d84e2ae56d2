"""Each format of each kind of network, as ratios to the eager network in the same run: time, memory, size, export time.

    python -m benchmarks.formats [MODEL...]     # on quiet cores; about five minutes a model

Writes benchmarks/results/formats-<cpu>-<threads>-<date>.json. Formats take turns, round after round, so that a slow
minute hits all of them. The row "bound" says what no format can exceed on this machine: the network's multiply-adds
(convolutions and matrix products alone) at the rate of the fastest round of one large matrix product, all else free.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench import THREADS, machine, peak_above_imports, rounds

MODELS = {
    "mask": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
    "cascade": "Misc/cascade_mask_rcnn_R_50_FPN_3x",
    "retinanet": "COCO-Detection/retinanet_R_50_FPN_3x",
    "keypoint": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x",
    "panoptic": "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x",
}
KINDS = (("torchscript", "tracing"), ("torchscript", "scripting"), ("onnx", "tracing"), ("openvino", "tracing"))
RUNTIMES = {"eager": "d2deploy.models.build", "torchscript": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
EAGER, BOUND = "eager", "bound"
SIDE = 3072  # of the large matrix product: 29 billion multiply-adds


def measure(name: str, count: int) -> dict[str, dict[str, float]]:
    """{format: its numbers} of one model."""
    from benchmarks.network import inputs, network, write_checkpoint
    from d2deploy.runner import open_runner
    from d2deploy.workflows.export import export

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder, MODELS[name])
        model = network(folder)
        found: dict[str, dict[str, float]] = {EAGER: {"megabytes": _megabytes(folder / "model_final.pth")}}
        runners = {EAGER: open_runner(model)}
        for format, method in KINDS:
            kind = f"{format}-{method}"
            start = time.perf_counter()
            artifact = export(model, format, folder / kind, method=method, verify=False)
            found[kind] = {"export_seconds": time.perf_counter() - start, "megabytes": _megabytes(folder / kind)}
            runners[kind] = open_runner(artifact)
        subjects = {kind: lambda runner=runner: runner(*inputs()) for kind, runner in runners.items()}
        seconds = rounds({**subjects, BOUND: large_product()}, count)
        product = seconds.pop(BOUND)
        gmacs = multiply_adds(model.core) / 1e9
        least = gmacs * min(product) / (SIDE**3 / 1e9)
        found[BOUND] = {
            "times_eager": statistics.median(seconds[EAGER]) / least,
            "median_seconds": least,
            "gmacs": gmacs,
        }
        del runners, model
        for kind, times in seconds.items():
            found[kind] |= {
                "median_seconds": statistics.median(times),
                "p90_seconds": statistics.quantiles(times, n=10)[-1],
                "times_eager": statistics.median(seconds[EAGER]) / statistics.median(times),
                "peak_gb": _peak(kind, folder),
            }
    return found


def multiply_adds(core: Any) -> float:
    """Of the network on the benchmark's image, those in convolutions and matrix products."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.network import inputs

    with FlopCounterMode(display=False) as counted:
        core(*map(torch.from_numpy, inputs()))
    return counted.get_total_flops() / 2


def large_product() -> Callable[[], object]:
    """SIDE x SIDE times SIDE x SIDE in numpy's OpenBLAS: faster here than torch's product and any convolution tried."""
    import numpy as np

    left, right = np.random.default_rng(0).random((2, SIDE, SIDE), dtype=np.float32)
    return lambda: left @ right


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _peak(kind: str, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.formats", "--peak-of", kind, str(folder)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _peak_of(kind: str, folder: Path) -> float:
    from benchmarks.network import network

    runtime = RUNTIMES[kind.partition("-")[0]]
    return peak_above_imports(runtime, lambda: network(folder) if kind == EAGER else folder / kind)


COLUMNS = {
    **{"times_eager": 2, "median_seconds": 2, "p90_seconds": 2},
    **{"peak_gb": 2, "megabytes": 0, "export_seconds": 0},
}


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = ["| model | format | x eager | median s | p90 s | peak GB | MB | export s |", "|---" * 8 + "|"]
    for model, kinds in result["models"].items():
        for kind, n in kinds.items():
            cells = (f"{n[name]:.{digits}f}" if name in n else "" for name, digits in COLUMNS.items())
            lines.append(f"| {model} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(_peak_of(options.peak_of[0], Path(options.peak_of[1])))
        return
    import torch

    torch.set_num_threads(THREADS)
    about = machine()
    result = {"machine": about, "rounds": options.rounds, "models": {}}
    for name in options.models:
        result["models"][name] = measure(name, options.rounds)
        print(table(result), flush=True)
    cpu = "-".join(about["cpu"].lower().split())
    file = options.output / f"formats-{cpu}-{THREADS}-threads-{about['date']}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
