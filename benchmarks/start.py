"""What a user waits for before the first image: the import, the network from its config, the weights from their file.

    python -m benchmarks.start     # on quiet cores; half a minute

Each number is the median of its rounds. The checkpoint's is what it takes beyond reading the file's bytes from a warm
cache: hash, checks, tensors, names and memory layout.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import THREADS, machine, rounds
from benchmarks.network import MASK_RCNN, OVERRIDES, network, write_checkpoint

BARS = {"import d2deploy": 0.15, "build from config": 1.5, "load a checkpoint, beyond reading it": 2.0}
ROUNDS = 7


def measure() -> dict[str, float]:
    """Seconds of each of BARS."""
    import torch

    from d2deploy.config.model import read_model_config
    from d2deploy.models.build import build_model

    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder)
        subjects: dict[str, Callable[[], object]] = {
            "nothing": lambda: _python("pass"),
            "import": lambda: _python("import d2deploy"),
            "build": lambda: build_model(read_model_config(folder / "config.yaml", OVERRIDES)),
            "read": lambda: (folder / "model_final.pth").read_bytes(),
            "load": lambda: network(folder),
        }
        seconds = {name: statistics.median(times) for name, times in rounds(subjects, ROUNDS).items()}
    found = (seconds["import"] - seconds["nothing"], seconds["build"], seconds["load"] - seconds["read"])
    return dict(zip(BARS, found, strict=True))


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    """Measure, print the table, keep the numbers."""
    start = time.perf_counter()
    found, about = measure(), machine()
    print(f"| {MASK_RCNN} | seconds | bar |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.3f} | {BARS[name]}: {'met' if seconds <= BARS[name] else 'missed'} |")
    cpu = "-".join(about["cpu"].lower().split())
    file = Path(__file__).parent / "results" / f"start-{cpu}-{THREADS}-threads-{about['date']}.json"
    file.write_text(
        json.dumps({"machine": about, "seconds": found, "took": time.perf_counter() - start}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
