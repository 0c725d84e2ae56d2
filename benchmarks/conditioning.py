"""Whose float32 is how far from the exact result: d2deploy's, and detectron2's in the goldens.

    python -m benchmarks.conditioning [CONFIG...]   # by hand; about a minute and a half of CPU a config

The exact result is our network in float64 on the same weights and pixels. A mistake of ours would be in it too: then
detectron2's numbers would be far from it, and our float32 near. Where both are equally far, float32 cannot say more.
Also the network in float64 on pixels that differ by what float32 rounds one: what moves then, float32 cannot hold.
Brings benchmarks/results/conditioning.json up to date and prints it as a table. Detections are the golden's `raw`.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from benchmarks.bench import machine
from benchmarks.network import GOLDEN, write_checkpoint

FOLDER = GOLDEN / "detectron2"
RESULT = Path(__file__).parent / "results" / "conditioning.json"
DETECTIONS = ("boxes", "scores", "classes")
CORNER = re.compile(r"feat/\w+/corner")
SAME_PX = 1.0  # a detection of the same class whose corners are all nearer than that is the same one
CONFIGS = (
    "COCO-Detection/faster_rcnn_R_50_FPN_3x",  # what is usual, to compare with
    "COCO-Detection/retinanet_R_50_FPN_3x",
    "COCO-InstanceSegmentation/mask_rcnn_R_101_DC5_3x",
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x",
    "COCO-Keypoints/keypoint_rcnn_X_101_32x8d_FPN_3x",
    "LVISv0.5-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_1x",
    "LVISv1-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_1x",
    "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
    "Misc/scratch_mask_rcnn_R_50_FPN_3x_gn",
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_gn",
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ",
    "projects/MViTv2/configs/mask_rcnn_mvitv2_t_3x",
    "projects/PointRend/configs/InstanceSegmentation/pointrend_rcnn_X_101_32x8d_FPN_3x_coco",
    "projects/ViTDet/configs/COCO/cascade_mask_rcnn_mvitv2_b_in21k_100ep",
)
Found = dict[str, np.ndarray]  # boxes[D,4], scores[D], classes[D], and feat/<level>: what the golden has of the level


class InDouble(TorchFunctionMode):
    """What the network's code makes in float32 is made in float64.

    But for counting, which float32 does exactly: where an index is rounded down from it (ops/position.py), that is
    part of what the network is.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The same call, of double in the place of float."""
        if func is torch.arange:
            return func(*args, **(kwargs or {}))
        wider = {name: torch.float64 if value is torch.float32 else value for name, value in (kwargs or {}).items()}
        call: Any = torch.Tensor.double if func is torch.Tensor.float else func
        return call(*args, **wider)


@contextmanager
def double() -> Iterator[None]:
    """Inside, float64 is also what torch takes where nothing is said."""
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, torch works with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_onednn() -> Iterator[None]:
    """Inside, torch's own convolutions, in its default layout."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


class Run(NamedTuple):
    """A way to run our network."""

    layout: torch.memory_format = torch.contiguous_format
    around: Callable[[], Any] = lambda: threads(1)
    dtype: torch.dtype = torch.float32
    seed: int | None = None  # of noise on the pixels, too small to matter (NOISE): only roundings fall otherwise


NOISE = 1e-5  # grey levels; as float32 rounds a pixel of 255
EXACT, OURS = "float64", "default layout"
RUNS = {
    EXACT: Run(around=double, dtype=torch.float64),
    OURS: Run(),
    "channels last": Run(layout=torch.channels_last),
    "two threads": Run(around=lambda: threads(2)),
    "without oneDNN": Run(around=without_onednn),
    **{f"rounded otherwise, {seed}": Run(seed=seed) for seed in (1, 2, 3)},
    **{f"{EXACT} of noise, {seed}": Run(around=double, dtype=torch.float64, seed=seed) for seed in (1, 2, 3)},
}


def inputs(facts: dict[str, Any], image: str, divisor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """images float32 [1,3,H,W] and image_sizes int64 [1,2] of a golden's image."""
    from d2deploy.image import read_image, resize_shortest_edge, to_batch

    pixels = read_image(GOLDEN / facts["images"][image]["file"])
    small = resize_shortest_edge(pixels, min_size=facts["short_edge"], max_size=facts["max_size"])
    images, sizes = to_batch([small], channel_order=facts["input_format"], size_divisor=divisor)
    return torch.from_numpy(images), torch.from_numpy(sizes)


def measure(config: str) -> dict[str, dict[str, Any]]:
    """{image: {run: its distance from detectron2 and from float64, and detectron2's from float64}} of one golden."""
    from d2deploy import load_model

    facts = json.loads((FOLDER / config / "golden.json").read_text())
    arrays = dict(np.load(FOLDER / config / "golden.npz"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder, config)
        sizes = {"min_size": facts["short_edge"], "max_size": facts["max_size"]}
        model = load_model(folder / "config.yaml", folder / "model_final.pth", **sizes)
    found: dict[str, dict[str, Any]] = {}
    for image in facts["images"]:
        pixels, image_sizes = inputs(facts, image, model.spec.preprocess.size_divisor)
        stored = {key.removeprefix(f"{image}/raw/").removeprefix(f"{image}/"): key for key in arrays if image in key}
        theirs = {short: arrays[key] for short, key in stored.items() if short in DETECTIONS or CORNER.fullmatch(short)}
        runs: dict[str, Found] = {}
        for name, run in RUNS.items():
            core = model.core.to(run.dtype)
            core.to(memory_format=run.layout)  # type: ignore[call-overload]  # missing in torch's stubs
            given = (pixels.to(run.dtype) + noise(pixels.shape, run.seed), image_sizes)
            with torch.inference_mode(), run.around():
                runs[name] = outcome(model.spec, core, given, theirs)
        exact = runs.pop(EXACT)
        found[image] = {"detectron2": {"from float64": distance(theirs, exact)}}
        for name, ours in runs.items():
            found[image][name] = {"from detectron2": distance(ours, theirs), "from float64": distance(ours, exact)}
    return found


def noise(shape: torch.Size, seed: int | None) -> torch.Tensor | float:
    """Noise of NOISE grey levels, or none."""
    return 0.0 if seed is None else NOISE * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outcome(spec: Any, core: Any, given: tuple[torch.Tensor, torch.Tensor], like: Found) -> Found:
    """Of what the network finds, as much as `like` has."""
    maps: dict[str, torch.Tensor] = {}
    handle = core.backbone.register_forward_hook(lambda module, args, result: maps.update(result))
    found = dict(zip((tensor.name for tensor in spec.outputs), core(*given), strict=True))
    handle.remove()
    for key in like.keys() - found.keys():
        c, h, w = like[key].shape
        found[key] = maps[key.split("/")[1]][0, :c, :h, :w]
    return {key: found[key].numpy() for key in like}


def distance(ours: Found, theirs: Found) -> dict[str, float]:
    """Differences of boxes and of scores over the detections that both have, the largest and for scores the median, and
    how many one alone has; of features the root mean square of the differences over that of the values, on the level
    where it is largest."""
    apart = np.abs(ours["boxes"][:, None] - theirs["boxes"]).max(axis=-1)
    apart[ours["classes"][:, None] != theirs["classes"]] = np.inf
    mine, partner = np.arange(len(apart)), apart.argmin(axis=1)
    mutual = (apart.argmin(axis=0)[partner] == mine) & (apart[mine, partner] < SAME_PX)
    scores = np.abs(ours["scores"] - theirs["scores"][partner])[mutual]
    maps = [key for key in ours if CORNER.fullmatch(key)]
    return {
        "boxes_px": float(apart[mine, partner][mutual].max()),
        "scores": float(scores.max()),
        "scores_median": float(np.median(scores)),
        "alone": len(ours["boxes"]) + len(theirs["boxes"]) - 2 * int(mutual.sum()),
        "features": max(float(_rms(ours[key] - theirs[key].astype(float)) / _rms(theirs[key])) for key in maps),
    }


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values.astype(float)).mean()))


def table(result: dict[str, Any]) -> str:
    """For people: detectron2's float32, ours in all its runs, and float64 of noise, each from float64."""
    columns = (
        *("config, image", "scores: ours from detectron2", "float64 of noise from float64"),
        *("detectron2 from float64", "ours from float64"),
        *("scores, median: detectron2", "ours", "features: detectron2", "ours", "alone"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for config, images in result["configs"].items():
        for image, runs in images.items():
            theirs = runs["detectron2"]["from float64"]
            floats = [run for name, run in runs.items() if name != "detectron2" and not name.startswith(EXACT)]
            ours, between = ([run[f"from {whom}"] for run in floats] for whom in ("float64", "detectron2"))
            exact = [run["from float64"] for name, run in runs.items() if name.startswith(EXACT)]
            cells = [f"{config}, {image}", _range(between, "scores"), _range(exact, "scores")]
            for what in ("scores", "scores_median", "features"):
                cells += [f"{theirs[what]:.1e}", _range(ours, what)]
            lines.append(f"| {' | '.join(cells)} | {max(found['alone'] for found in [theirs, *ours, *between])} |")
    return "\n".join(lines)


def _range(found: list[dict[str, float]], what: str) -> str:
    return f"{min(run[what] for run in found):.1e} to {max(run[what] for run in found):.1e}"


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", default=CONFIGS)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(options.output.read_text())["configs"] if options.output.exists() else {}
    result: dict[str, Any] = {"machine": {**machine(), "threads": 1}, "configs": known}
    for name in options.configs:
        result["configs"][name] = measure(name)
        print(*table({"configs": {name: result["configs"][name]}}).splitlines()[2:], sep="\n", flush=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
