"""Caffe2 nets: their operators beside those of detectron2's own export, and their time as a ratio to the network's.

    python -m benchmarks.caffe2 [MODEL...]     # on quiet cores; about two minutes a model; needs a Caffe2
    python -m benchmarks.caffe2 --operators    # the operators alone; needs no Caffe2

A Caffe2: `make test-caffe2`, then D2DEPLOY_CAFFE2_PYTHON=build/caffe2-env/bin/python. Writes
benchmarks/results/caffe2-<cpu>-<threads>-<date>.json. What is counted is time of the processor, in each of the two
processes: the network in torch and the net in Caffe2 take turns, and each number is the median of its rounds.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench import THREADS, machine
from benchmarks.formats import MODELS

EAGER, CAFFE2 = "eager", "caffe2"
MKL = "MKL_DEBUG_CPU_TYPE"  # decides about a factor on AMD processors: README.md
_RCNN = (
    "GenerateProposals 5, FC 4, MaxPool 2, Sub 1, Div 1, CollectRpnProposals 1, Flatten 1, Softmax 1, "
    "BBoxTransform 1, BoxWithNMSLimit 1, DistributeFpnProposals 2, BatchPermutation 2, Concat 3, RoIAlign 8"
)
# Counted in the files that detectron2's Caffe2Tracer wrote (v0.6; panoptic v0.5, the last that could), torch 1.8.1.
DETECTRON2 = {
    "mask": f"{_RCNN}, Add 19, Conv 81, Relu 61, ResizeNearest 3, ConvTranspose 1, Sigmoid 1",
    "keypoint": f"{_RCNN}, Add 19, Conv 84, Relu 64, ResizeNearest 4, ConvTranspose 1, Slice 1",
    "retinanet": "Conv 111, Relu 90, Add 18, ResizeNearest 2, Sub 1, Div 1, MaxPool 1",
    "panoptic": (f"{_RCNN}, Add 22, Conv 89, Relu 68, ConvTranspose 8, GroupNorm 7, ResizeNearest 3, Sigmoid 1"),
}


def detectron2_s(name: str) -> Counter[str]:
    """The operators of detectron2's export of a model. It has no anchors nor NMS in a RetinaNet's."""
    pairs = (item.split() for item in DETECTRON2[name].split(", "))
    return Counter({operator: int(count) for operator, count in pairs})


def measure(name: str, count: int) -> dict[str, Any]:
    """One model: operators; and with `count` rounds, if any, seconds of each side and their ratio."""
    from benchmarks.network import network, write_checkpoint
    from d2deploy.backends.caffe2 import FILE
    from d2deploy.backends.caffe2.messages import read_net
    from d2deploy.workflows.export import export

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder, MODELS[name])
        model = network(folder)
        artifact = export(model, CAFFE2, folder / CAFFE2, verify=False)
        ours = Counter(op.type for op in read_net(artifact.path / FILE).op)
        found: dict[str, Any] = {"operators": {"ours": ours, "detectron2": detectron2_s(name)}}
        if count:
            found |= compare(model, artifact, count)
    return found


def compare(model: Any, artifact: Any, count: int) -> dict[str, Any]:
    """Seconds of the processor that the network and the net take for one image."""
    from benchmarks.network import inputs
    from d2deploy.runner import open_runner

    arrays = inputs()
    network, net = open_runner(model), open_runner(artifact)
    try:
        worker = net._worker._process.pid  # type: ignore[attr-defined]
        subjects: dict[str, tuple[int, Callable[[], object]]] = {
            EAGER: (os.getpid(), lambda: network(*arrays)),
            CAFFE2: (worker, lambda: net(*arrays)),
        }
        seconds = rounds(subjects, count)
    finally:
        net.close()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {"seconds": seconds, "times_eager": medians[CAFFE2] / medians[EAGER]}


def rounds(subjects: dict[str, tuple[int, Callable[[], object]]], count: int) -> dict[str, list[float]]:
    """Processor seconds of each subject's process, `count` times, in turns; one warm-up round before."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(count + 1):
        for name, (pid, run) in subjects.items():
            before = processor_seconds(pid)
            run()
            if number:
                seconds[name].append(processor_seconds(pid) - before)
    return seconds


def processor_seconds(pid: int) -> float:
    """What a process has used up, all its threads (Linux, man 5 proc: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(models: dict[str, dict[str, Any]]) -> str:
    """The result for people."""
    lines = []
    if any("times_eager" in found for found in models.values()):
        lines += ["| model | eager, processor s | Caffe2, processor s | ratio |", "|---" * 4 + "|"]
    for name, found in models.items():
        if "times_eager" in found:
            eager, net = (statistics.median(found["seconds"][side]) for side in (EAGER, CAFFE2))
            lines.append(f"| {name} | {eager:.2f} | {net:.2f} | {found['times_eager']:.2f} |")
    for name, found in models.items():
        ours, theirs = found["operators"]["ours"], found["operators"]["detectron2"]
        lines += ["", f"| {name} | ours | detectron2's |", "|---|---|---|"]
        lines.append(f"| all | {sum(ours.values())} | {sum(theirs.values())} |")
        for operator, _ in (ours | theirs).most_common():
            lines.append(f"| {operator} | {ours[operator] or ''} | {theirs[operator] or ''} |")
    return "\n".join(lines).strip()


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(DETECTRON2))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--operators", action="store_true", help="the operators alone")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(THREADS)  # of the process of Caffe2
    import torch

    torch.set_num_threads(THREADS)
    about = machine() | {MKL: os.environ.get(MKL)}
    result: dict[str, Any] = {"machine": about, "rounds": options.rounds, "models": {}}
    for name in options.models:
        result["models"][name] = measure(name, 0 if options.operators else options.rounds)
    print(table(result["models"]))
    if options.operators:
        return
    cpu = "-".join(result["machine"]["cpu"].lower().split())
    file = options.output / f"caffe2-{cpu}-{THREADS}-threads-{result['machine']['date']}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
