"""The proof: does the export see what the network sees?

Both run through Predictor on the same images, and their results are compared one by one in pixels of the original
image. Memory: one image (or one small batch) at a time.

Ties: now and then two boxes overlap by 0.7000002 where NMS cuts at 0.7, and the last digit decides which stays; or a
pixel of a mask of 50 has probability 0.5000001, and the IoU is 0.98 without it. So an image over the budget is run
through the source again with noise of a thousandth of a grey level; when the export equals one of those results within
the budget, the source itself cannot tell the two apart.
"""

import dataclasses
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy import __version__
from d2deploy.artifact import Artifact, ModelSpec
from d2deploy.image import to_array
from d2deploy.predictor import Predictor
from d2deploy.results import Instances, Result
from d2deploy.runner import Source, to_source
from d2deploy.workflows.compare import compare, nothing_compared
from d2deploy.workflows.report import Budget, Report, Row
from d2deploy.workflows.sample import Sample, grid_of_boxes

__all__ = ["Budget", "Report", "Row", "verify"]

# float32 keeps a grey level of 255 to 1.5e-5, and a hundred layers round it again and again.
_NOISE = 1e-3  # grey levels
_TRIES = 8


def verify(
    artifact: Source | str | Path,
    *,
    against: Source | str | Path,
    images: Sequence[Sample | np.ndarray | str | Path],
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> Report:
    """Run `artifact` and `against` (the network, or another artifact) on `images` and compare what they find.

    images: paths, uint8 [H,W,3] BGR arrays, or Samples (one Sample of several images runs as one batch, or one by one
    when either side has resizing inside). A model that
    takes proposals gets the Sample's, or a grid of boxes where it has none.
    Detections are paired by class and overlap (matching.py), never by row. One without partner counts as unmatched,
    unless a cut-off explains it: its score is at most the score threshold + margin; or a side's list is full (the
    model's maximum of detections) and its score is at most the lowest kept one + margin. Proposals likewise, of which
    a few may lack a partner: NMS decides among thousands, some of them by the last digit. Segments are paired by
    category and overlap. Of classes and segments the pixels that differ are counted.
    An artifact with weights in 16 bits is compared with the network that has these weights; what rounding them costs is
    for evaluate to say. A tie, see above, counts as equal, and its row says so, with the differences to that result.
    An image in which both find nothing is fine; when no pair was compared in any image the report is not ok, since
    that proves nothing. `progress` is called with (images done, images in all).

    Raises ImageError, ArtifactError; never Mismatch: the verdict is `report.ok`, see also `report.raise_if_bad()`.
    """
    against, artifact = to_source(against), to_source(artifact)
    against, budget = _with_weights_of(artifact, against), budget or Budget()
    samples = [_sample(image) for image in images]
    rows: list[Row] = []
    kind: type = Instances
    with Predictor(against, device=device) as source, Predictor(artifact, device=device) as export:
        faults = _spec_faults(against.spec, artifact.spec)
        for done, sample in enumerate(samples):
            if progress:
                progress(done, len(samples))
            found, kind = _rows(sample, source, export, budget)
            rows.extend(found)
        if progress:
            progress(len(samples), len(samples))
    if not sum(row.pairs for row in rows):
        faults = (*faults, nothing_compared(kind))
    return Report(
        source=against.format,
        export=artifact.format,
        budget=budget,
        rows=tuple(rows),
        faults=faults,
        versions=_versions(),
    )


def _with_weights_of(artifact: Source, source: Source) -> Source:
    """The network `source` with its weights rounded where the artifact's are: to that the artifact must be equal."""
    is_rounded = isinstance(artifact, Artifact) and artifact.manifest.options.get("weights") == "float16"
    if not is_rounded or isinstance(source, Artifact):
        return source
    from d2deploy.backends.half_weights import with_half_weights

    rounded: Source = with_half_weights(source)
    return rounded


def _rows(sample: Sample, source: Predictor, export: Predictor, budget: Budget) -> tuple[list[Row], type]:
    """A row an image, and the type of the results."""
    images = [to_array(image) for image in sample.images]
    proposals = None
    if source.takes_proposals:
        proposals = sample.proposals or [grid_of_boxes(image.shape[:2]) for image in images]
    together = source.takes_batches and export.takes_batches

    def results(of: Predictor, **noise: Any) -> list[Result]:
        if together:
            return of.batch(images, proposals=proposals, **noise)
        return [result for image in images for result in of.batch([image], **noise)]

    found = results(export)

    def against(theirs: list[Result]) -> list[Row]:
        return [
            compare(_name(sample, i), a, b, spec=source.spec, budget=budget)
            for i, (a, b) in enumerate(zip(theirs, found, strict=True))
        ]

    rows = against(results(source))
    for seed in range(_TRIES):
        if all(row.ok for row in rows):
            break
        noisy = against(results(source, noise=_NOISE, seed=seed))
        rows = [
            dataclasses.replace(new, is_tie=True) if new.ok and not row.ok else row
            for row, new in zip(rows, noisy, strict=True)
        ]
    return rows, type(found[0])


def _name(sample: Sample, index: int) -> str:
    return sample.name if len(sample.images) == 1 else f"{sample.name} [{index + 1}/{len(sample.images)}]"


def _sample(image: Sample | np.ndarray | str | Path) -> Sample:
    if isinstance(image, Sample):
        return image
    return Sample(Path(image).name if isinstance(image, str | Path) else "array", (image,))


_SAME = ("num_classes", "preprocess", "thresholds", "panoptic", "panoptic_deeplab")


def _spec_faults(source: ModelSpec, export: ModelSpec) -> tuple[str, ...]:
    """What says, before any image, that the two are not the same model."""
    left, right = (_flat({part: getattr(spec, part) for part in _SAME}) for spec in (source, export))
    return tuple(
        f"{name} is {right.get(name)} in the export and {left.get(name)} in the source: use one config and the same "
        f"overrides for both"
        for name in {**left, **right}
        if left.get(name) != right.get(name)
    )


def _flat(parts: dict[str, object]) -> dict[str, object]:
    """Each field of each part under a name in words: "preprocess min_size"."""
    flat: dict[str, object] = {}
    for name, part in parts.items():
        words = name.replace("num_classes", "number of classes")
        if part is not None and dataclasses.is_dataclass(part) and not isinstance(part, type):
            flat |= {f"{words} {key}": value for key, value in dataclasses.asdict(part).items()}
        else:
            flat[words] = part
    return flat


def _versions() -> dict[str, str]:
    """Versions of what took part: of the runtimes only those that were loaded."""
    versions = {"d2deploy": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "onnxruntime"):
        if name in sys.modules:
            versions[name] = str(sys.modules[name].__version__)
    return versions
