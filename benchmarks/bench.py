"""Time and memory of the core by stage and by format, as ratios to the backbone's forward pass in the same run.

    make bench          # on quiet cores; about ten minutes; writes benchmarks/results/<cpu>-<threads>-<date>.json

Subjects take turns, round after round, so that a slow minute hits all of them; each number is the median of its rounds.
"""

import argparse
import copy
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
ROUNDS = 7
# What was aimed at, in units of the backbone's forward pass; in the comments the real detectron2 on such a machine.
BARS = {
    "rpn + box pooling + box head + nms": 0.34,  # 0.43
    "box pooling, 1000 boxes": 0.08,  # 0.16
    "mask head with pooling, 100 boxes": 0.27,  # 0.28
    "pasting 100 masks": 0.035,  # 0.035
    "eager, whole": 1.65,  # 1.81
    "onnxruntime, whole": 1.65 / 1.5,
}
DEFAULT_LAYOUT = "backbone in torch's default layout"
MEMORY_BARS = {"eager": 1.3, "onnx": 1.0}  # GB above the import
FORMATS = (("torchscript", "tracing"), ("torchscript", "scripting"), ("onnx", "tracing"))


def stages(model: Any) -> dict[str, Callable[[], object]]:
    """The network's parts, each on what the part before gave."""
    import numpy as np
    import torch

    from benchmarks.network import HEIGHT, WIDTH, inputs
    from d2deploy.postprocess import paste_masks

    core, (images, sizes) = model.core, map(torch.from_numpy, inputs())
    default_layout = copy.deepcopy(core.backbone).to(memory_format=torch.contiguous_format)
    heads, rpn = core.roi_heads, core.proposal_generator
    prepared = core.prepare(images, sizes)
    features = core.backbone(prepared)
    proposals, logits = rpn(features, sizes)
    levels = [features[name] for name in heads.in_features]
    zeros = torch.zeros(1000, dtype=torch.int64)
    pooled = heads.box_pooler(levels, proposals[0], zeros)
    boxes, scores = heads.box_branch(levels, proposals, sizes)
    hundred = proposals[0, :100]
    probs = heads.mask_head(heads.mask_pooler(levels, hundred, zeros[:100]), zeros[:100]).numpy()
    corners = np.random.default_rng(0).uniform(0, 1, (100, 2)) * (WIDTH - 200, HEIGHT - 200)
    pasted = np.concatenate([corners, corners + np.random.default_rng(1).uniform(20, 200, (100, 2))], axis=1)

    generator = torch.Generator().manual_seed(0)
    centres = torch.rand((1, 5, 1000, 2), generator=generator) * torch.tensor([WIDTH, HEIGHT])
    extents = torch.rand((1, 5, 1000, 2), generator=generator) * 100
    candidates = torch.cat([centres - extents, centres + extents], dim=-1)
    ranks = torch.rand((1, 5, 1000), generator=generator)

    def masks() -> object:
        return heads.mask_head(heads.mask_pooler(levels, hundred, zeros[:100]), zeros[:100])

    return {
        "backbone": lambda: core.backbone(prepared),
        DEFAULT_LAYOUT: lambda: default_layout(prepared.contiguous()),
        "prepare images": lambda: core.prepare(images, sizes),
        "rpn": lambda: rpn(features, sizes),
        "box pooling, 1000 boxes": lambda: heads.box_pooler(levels, proposals[0], zeros),
        "box head": lambda: heads.box_predictor(heads.box_head(pooled), proposals[0]),
        "nms": lambda: heads.select(boxes, scores, logits, sizes),
        "the op NMS alone, 5 x 1000 boxes": lambda: rpn.nms(candidates, ranks),
        "mask pooling, 100 boxes": lambda: heads.mask_pooler(levels, hundred, zeros[:100]),
        "mask head with pooling, 100 boxes": masks,
        "pasting 100 masks": lambda: paste_masks(probs, pasted.astype(np.float32), (HEIGHT, WIDTH)),
        "eager, whole": lambda: core(images, sizes),
    }


def formats(model: Any, folder: Path) -> tuple[dict[str, Callable[[], object]], dict[str, dict[str, float]]]:
    """Runners of each export, and what exporting took."""
    from benchmarks.network import inputs
    from d2deploy.runner import open_runner
    from d2deploy.workflows.export import export

    subjects: dict[str, Callable[[], object]] = {}
    exports = {}
    for format, method in FORMATS:
        start = time.perf_counter()
        artifact = export(model, format, folder / f"{format}-{method}", method=method, verify=False)
        exports[f"{format}, {method}"] = {
            "export_seconds": time.perf_counter() - start,
            "megabytes": artifact.file.stat().st_size / 1e6,
        }
        runner = open_runner(artifact)
        name = "onnxruntime, whole" if format == "onnx" else f"torchscript {method}, whole"
        subjects[name] = lambda runner=runner: runner(*inputs())  # type: ignore[misc]
    return subjects, exports


def rounds(subjects: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Seconds of each subject, `count` times, in turns; two warm-up rounds before."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(count + 2):
        for name, run in subjects.items():
            start = time.perf_counter()
            run()
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def memory(folder: Path) -> dict[str, float]:
    """Peak memory above what the imports take, GB: a fresh process each."""
    peaks = {}
    for name in MEMORY_BARS:
        command = [sys.executable, "-m", "benchmarks.bench", "--peak-of", name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = float(done.stdout.split()[-1])
    return peaks


def peak_of(name: str, folder: Path) -> float:
    """GB that loading and three runs add to this process's memory at their peak, weights included."""
    from benchmarks.network import network

    runtime = {"eager": "d2deploy.models.build", "onnx": "onnxruntime"}[name]
    return peak_above_imports(runtime, lambda: network(folder) if name == "eager" else folder / "onnx-tracing")


def peak_above_imports(runtime: str, source: Callable[[], Any]) -> float:
    """The same for what `source` gives (a model or an artifact's folder), once the module `runtime` is imported."""
    from benchmarks.network import inputs
    from d2deploy.runner import open_runner

    arrays = inputs()
    __import__(runtime)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux, man 5 proc)
    runner = open_runner(source())
    for _ in range(3):
        runner(*arrays)
    return (_status("VmHWM") - before) / 1e6


def _status(field: str) -> int:
    """A line of /proc/self/status, kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def machine() -> dict[str, Any]:
    """What it ran on."""
    import onnxruntime
    import torch

    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "threads": THREADS,
        "load_average_before": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "date": datetime.date.today().isoformat(),
    }


def measure(count: int) -> dict[str, Any]:
    """The whole benchmark."""
    import torch

    from benchmarks.network import HEIGHT, WIDTH, network, write_checkpoint

    torch.set_num_threads(THREADS)
    result: dict[str, Any] = {"machine": machine(), "image": [HEIGHT, WIDTH], "rounds": count}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        write_checkpoint(folder)
        model = network(folder)
        with torch.inference_mode(False):
            subjects, result["exports"] = formats(model, folder)
        parts = stages(model)
        seconds = {**rounds(parts, count), **rounds({"backbone ": parts["backbone"], **subjects}, count)}
        del model, subjects, parts
        result["peak_gb"] = memory(folder)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    medians["rpn + box pooling + box head + nms"] = sum(
        medians[part] for part in ("rpn", "box pooling, 1000 boxes", "box head", "nms")
    )
    unit = statistics.median([*seconds["backbone"], *seconds.pop("backbone ")])
    medians.pop("backbone ")
    result["unit_seconds"] = unit
    result["ratios"] = {name: value / unit for name, value in medians.items()}
    return result


def table(result: dict[str, Any]) -> str:
    """The result for people, bars beside it. Bars are checked against both layouts of the unit."""
    ratios = result["ratios"]
    lines = ["| | x backbone | x backbone, default layout | bar |", "|---|---|---|---|"]
    for name, ratio in ratios.items():
        other = ratio / ratios[DEFAULT_LAYOUT]
        lines.append(f"| {name} | {ratio:.3f} | {other:.3f} | {_verdict(BARS.get(name), ratio, other)} |")
    lines += ["", "| peak memory above the import | GB | bar |", "|---|---|---|"]
    for name, peak in result["peak_gb"].items():
        lines.append(f"| {name} | {peak:.2f} | {_verdict(MEMORY_BARS[name], peak)} |")
    lines += ["", "| export | seconds | MB |", "|---|---|---|"]
    lines += [f"| {name} | {e['export_seconds']:.1f} | {e['megabytes']:.1f} |" for name, e in result["exports"].items()]
    return "\n".join(lines)


def _verdict(bar: float | None, *values: float) -> str:
    if bar is None:
        return ""
    said = ["met" if value <= bar else f"missed by {value / bar - 1:.0%}" for value in values]
    return f"{bar:.3g}: " + " / ".join(said)


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(peak_of(options.peak_of[0], Path(options.peak_of[1])))
        return
    result = measure(options.rounds)
    print(f"{result['machine']['cpu']}, {THREADS} threads; backbone {result['unit_seconds']:.3f} s\n\n{table(result)}")
    options.output.mkdir(exist_ok=True)
    cpu = "-".join(result["machine"]["cpu"].lower().split())
    name = f"{cpu}-{THREADS}-threads-{result['machine']['date']}.json"
    (options.output / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
