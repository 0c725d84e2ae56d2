"""The proof: does the export see what the network sees?

Both run through Predictor on the same images, and their results are compared detection by detection in pixels of the
original image. Memory: one image (or one small batch) at a time.
"""

import dataclasses
import math
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from tabulate import tabulate

from d2deploy import __version__
from d2deploy.artifact import ModelSpec, Thresholds
from d2deploy.errors import Mismatch
from d2deploy.image import to_array
from d2deploy.predictor import Predictor
from d2deploy.results import Instances
from d2deploy.runner import Source, to_source
from d2deploy.workflows.matching import match
from d2deploy.workflows.sample import Sample

NOTHING = (
    "nothing was compared: no object was found in any image. "
    "Give images with objects that the model knows: --sample-image for export, --images for verify."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """The largest difference that counts as none. The defaults are for float32 on both sides."""

    boxes_px: float = 0.05  # any box coordinate, pixels of the original image
    scores: float = 2e-4
    mask_iou: float = 0.99  # at least
    keypoints_px: float = 0.1  # either coordinate, pixels of the original image
    threshold_margin: float = 1e-3  # how near a cut-off a score must be for its detection to be absent on one side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The comparison of one image. None: there was nothing to measure."""

    image: str
    size: tuple[int, int]  # height, width
    source: int  # detections of the network
    export: int  # detections of the export
    pairs: int
    boxes_px: float | None
    scores: float | None
    mask_iou: float | None
    unmatched: int  # without partner and without excuse
    excused: int  # without partner, within the margin of a cut-off
    faults: tuple[str, ...]  # what is over the budget, in words
    keypoints_px: float | None = None
    is_tie: bool = False  # equal only to the source's result for the same image with noise of float32's size

    @property
    def ok(self) -> bool:
        """Within the budget."""
        return not self.faults


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What verify found. `str(report)` is the table that the command line prints."""

    source: str  # format of the reference, "eager" for the network
    export: str  # format of what was verified
    budget: Budget
    rows: tuple[Row, ...]
    faults: tuple[str, ...]  # what is wrong beyond single images
    versions: dict[str, str]

    @property
    def ok(self) -> bool:
        """Every image within the budget, and at least one detection compared."""
        return not self.faults and all(row.ok for row in self.rows)

    @property
    def reasons(self) -> list[str]:
        """Every fault, in words; empty when ok."""
        return [*self.faults, *(f"{row.image}: {fault}" for row in self.rows for fault in row.faults)]

    def raise_if_bad(self) -> None:
        """Raises Mismatch, with the first few reasons, unless ok."""
        if not self.ok:
            more = f"; and {len(self.reasons) - _SHOWN} more" if len(self.reasons) > _SHOWN else ""
            shown = "; ".join(self.reasons[:_SHOWN])
            mismatch = Mismatch(f"{self.export} is not proved equal to {self.source}: {shown}{more}")
            mismatch.report = self
            raise mismatch

    def to_dict(self) -> dict[str, Any]:
        """For the manifest and other JSON: numbers that are not finite become null."""
        fields = dataclasses.asdict(self)
        rows = [{**fields, "ok": row.ok} for fields, row in zip(fields.pop("rows"), self.rows, strict=True)]
        result: dict[str, Any] = _plain({"ok": self.ok, "reasons": self.reasons, **fields, "rows": rows})
        return result

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The report that `to_dict` gave, as it stands in a manifest."""
        rows = [{key: value for key, value in row.items() if key != "ok"} for row in fields["rows"]]
        rows = [{**row, "size": tuple(row["size"]), "faults": tuple(row["faults"])} for row in rows]
        return cls(
            source=fields["source"],
            export=fields["export"],
            budget=Budget(**fields["budget"]),
            rows=tuple(Row(**row) for row in rows),
            faults=tuple(fields["faults"]),
            versions=fields["versions"],
        )

    def __str__(self) -> str:
        header = ("image", "size", "source", "export", "box px", "score", "mask IoU", "unmatched", "")
        lines = [*map(_line, self.rows), _line(self.total)]
        table = tabulate(lines, header, disable_numparse=True, colalign=("left", *["right"] * 7, "left"))
        verdict = "the same" if self.ok else "DIFFERENT\n" + "\n".join(f"  - {reason}" for reason in self.reasons)
        return f"{table}\n\n{self.export} against {self.source}: {verdict}"

    @property
    def total(self) -> Row:
        """All images as one: sums of counts, worst of differences."""
        return Row(
            image=f"{len(self.rows)} images",
            size=(0, 0),
            **{key: sum(getattr(row, key) for row in self.rows) for key in _COUNTS},
            boxes_px=_worst(max, (row.boxes_px for row in self.rows)),
            scores=_worst(max, (row.scores for row in self.rows)),
            mask_iou=_worst(min, (row.mask_iou for row in self.rows)),
            keypoints_px=_worst(max, (row.keypoints_px for row in self.rows)),
            faults=tuple(self.reasons),
        )


_SHOWN = 3
_DIFFERENCES = (("boxes_px", "boxes", " px"), ("scores", "scores", ""), ("keypoints_px", "keypoints", " px"))
# float32 keeps a grey level of 255 to 1.5e-5, and a hundred layers round it again and again.
_NOISE = 1e-3  # grey levels
_TRIES = 8
_COUNTS = ("source", "export", "pairs", "unmatched", "excused")


def verify(
    artifact: Source | str | Path,
    *,
    against: Source | str | Path,
    images: Sequence[Sample | np.ndarray | str | Path],
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> Report:
    """Run `artifact` and `against` (the network, or another artifact) on `images` and compare their detections.

    images: paths, uint8 [H,W,3] BGR arrays, or Samples (one Sample of several images runs as one batch).
    Detections are paired by class and overlap (matching.py), never by row. One without partner counts as unmatched,
    unless a cut-off explains it: its score is at most the score threshold + margin; or a side's list is full (the
    model's maximum of detections) and its score is at most the lowest kept one + margin.
    Ties: now and then two boxes overlap by 0.7000002 where NMS cuts at 0.7, and the last digit decides which of them
    stays; or a pixel of a mask of 50 has probability 0.5000001, and the IoU is 0.98 without it. So an image over the
    budget is run through the source again with noise of a thousandth of a grey level; when the export equals one of
    those results within the budget, the source itself cannot tell the two apart, and the row says "tie", with the
    differences to that result.
    An image without detections on both sides is fine; when no pair was compared in any image the report is not ok,
    since that proves nothing. `progress` is called with (images done, images in all).

    Raises ImageError, ArtifactError; never Mismatch: the verdict is `report.ok`, see also `report.raise_if_bad()`.
    """
    budget = budget or Budget()
    against, artifact = to_source(against), to_source(artifact)
    samples = [_sample(image) for image in images]
    rows: list[Row] = []
    with Predictor(against, device=device) as source, Predictor(artifact, device=device) as export:
        for done, sample in enumerate(samples):
            if progress:
                progress(done, len(samples))
            rows.extend(_rows(sample, source, export, budget))
        if progress:
            progress(len(samples), len(samples))
    faults = _spec_faults(against.spec, artifact.spec)
    if not sum(row.pairs for row in rows):
        faults = (*faults, NOTHING)
    return Report(
        source=against.format,
        export=artifact.format,
        budget=budget,
        rows=tuple(rows),
        faults=faults,
        versions=_versions(),
    )


def compare(name: str, a: Instances, b: Instances, *, thresholds: Thresholds, budget: Budget) -> Row:
    """One image's row: a is the source's result, b the export's."""
    matching = match(a, b)
    left, right = matching.pairs.T
    alone = np.concatenate([a.scores[matching.only_a], b.scores[matching.only_b]])
    excused = int((alone <= _cut_off(a, b, thresholds) + budget.threshold_margin).sum())
    finite = all(np.isfinite(x).all() for i in (a, b) for x in (i.pred_boxes, i.scores))
    masks = [_mask_iou(a, b, i, j) for i, j in matching.pairs.tolist()] if _both_have_masks(a, b) else []
    found: dict[str, Any] = {
        "boxes_px": _largest(a.pred_boxes[left], b.pred_boxes[right]),
        "scores": _largest(a.scores[left], b.scores[right]),
        "mask_iou": min(masks, default=None),
        "keypoints_px": _keypoint_difference(a, b, matching.pairs),
        "unmatched": len(alone) - excused,
    }
    faults = list(_faults(found, budget, masks))
    if not finite:
        faults.append("numbers that are not finite")
    for part in ("masks", "keypoints"):
        if (getattr(a, f"pred_{part}") is None) != (getattr(b, f"pred_{part}") is None):
            faults.append(f"{part} on one side only")
    return Row(
        image=name,
        size=a.image_size,
        source=len(a),
        export=len(b),
        pairs=len(matching.pairs),
        excused=excused,
        faults=tuple(faults),
        **found,
    )


def _rows(sample: Sample, source: Predictor, export: Predictor, budget: Budget) -> list[Row]:
    images = [to_array(image) for image in sample.images]
    found = export.batch(images)

    def against(results: list[Instances]) -> list[Row]:
        return [
            compare(_name(sample, i), a, b, thresholds=source.spec.thresholds, budget=budget)
            for i, (a, b) in enumerate(zip(results, found, strict=True))
        ]

    rows = against(source.batch(images))
    for seed in range(_TRIES):
        if all(row.ok for row in rows):
            break
        noisy = against(source.batch(images, noise=_NOISE, seed=seed))
        rows = [
            dataclasses.replace(new, is_tie=True) if new.ok and not row.ok else row
            for row, new in zip(rows, noisy, strict=True)
        ]
    return rows


def _name(sample: Sample, index: int) -> str:
    return sample.name if len(sample.images) == 1 else f"{sample.name} [{index + 1}/{len(sample.images)}]"


def _sample(image: Sample | np.ndarray | str | Path) -> Sample:
    if isinstance(image, Sample):
        return image
    return Sample(Path(image).name if isinstance(image, str | Path) else "array", (image,))


def _cut_off(a: Instances, b: Instances, thresholds: Thresholds) -> float:
    full = [i.scores.min() for i in (a, b) if 0 < thresholds.max_detections <= len(i)]
    return float(max([thresholds.score, *full]))


def _faults(found: dict[str, Any], budget: Budget, masks: list[float]) -> Iterator[str]:
    if found["unmatched"]:
        yield f"{found['unmatched']} detections without partner"
    for key, words, unit in _DIFFERENCES:
        # Written as "not <=" so that a NaN is a fault.
        if found[key] is not None and not found[key] <= getattr(budget, key):
            yield f"{words} differ by {found[key]:.3g}{unit}, allowed are {getattr(budget, key):g}{unit}"
    bad = [iou for iou in masks if iou < budget.mask_iou]
    if bad:
        yield f"a mask overlaps by {min(bad):.3f} only, required are {budget.mask_iou:g}"


def _largest(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) if len(a) else None


def _keypoint_difference(a: Instances, b: Instances, pairs: np.ndarray) -> float | None:
    if a.pred_keypoints is None or b.pred_keypoints is None:
        return None
    left, right = pairs.T
    return _largest(a.pred_keypoints[left, :, :2], b.pred_keypoints[right, :, :2])


def _both_have_masks(a: Instances, b: Instances) -> bool:
    return a.pred_masks is not None and b.pred_masks is not None


def _mask_iou(a: Instances, b: Instances, row: int, column: int) -> float:
    """IoU of two masks; 1 when both are empty."""
    assert a.pred_masks is not None and b.pred_masks is not None
    left, right = a.pred_masks[row], b.pred_masks[column]
    union = int(np.count_nonzero(left | right))
    return int(np.count_nonzero(left & right)) / union if union else 1.0


def _spec_faults(source: ModelSpec, export: ModelSpec) -> tuple[str, ...]:
    """What says, before any image, that the two are not the same model."""
    pairs = [("number of classes", source.num_classes, export.num_classes)]
    for part in ("preprocess", "thresholds"):
        left, right = dataclasses.asdict(getattr(source, part)), dataclasses.asdict(getattr(export, part))
        pairs += [(f"{part} {key}", left[key], right[key]) for key in left]
    return tuple(
        f"{name} is {right} in the export and {left} in the source: use one config and the same overrides for both"
        for name, left, right in pairs
        if left != right
    )


def _versions() -> dict[str, str]:
    """Versions of what took part: of the runtimes only those that were loaded."""
    versions = {"d2deploy": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "onnxruntime"):
        if name in sys.modules:
            versions[name] = str(sys.modules[name].__version__)
    return versions


def _worst(pick: Callable[[list[float]], float], values: Iterator[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return pick(given) if given else None


def _line(row: Row) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else "0" if value == 0 else format(value, form)

    size = f"{row.size[1]}x{row.size[0]}" if any(row.size) else ""
    unmatched = str(row.unmatched) + (f" (+{row.excused} at a cut-off)" if row.excused else "")
    numbers = (number(row.boxes_px, ".5f"), number(row.scores, ".1e"), number(row.mask_iou, ".4f"))
    return (
        row.image,
        size,
        str(row.source),
        str(row.export),
        *numbers,
        unmatched,
        "FAIL" if not row.ok else "tie" if row.is_tie else "ok",
    )


def _plain(value: Any) -> Any:
    """`value` with tuples as lists and without NaN or infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
