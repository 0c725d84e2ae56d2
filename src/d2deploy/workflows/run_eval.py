"""What an export costs in accuracy: source and export evaluated on the same images."""

import math
from dataclasses import dataclass
from typing import Any, Unpack

from tabulate import tabulate

from d2deploy.errors import Mismatch
from d2deploy.metrics.scores import HEADLINES, Metrics
from d2deploy.runner import Source
from d2deploy.workflows.evaluate import Progress, evaluate
from d2deploy.workflows.ground_truth import Data

MAX_DROP = 0.1
"""Points (of 100) of AP, mIoU or PQ that an export may lose before it counts as worse."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both metrics. `str(comparison)` is the text that the command line prints."""

    source: Metrics
    export: Metrics
    names: tuple[str, str]  # formats of source and export

    @property
    def difference(self) -> Metrics:
        """What the export has more than the source, in points, for every number that both have."""
        return self.export.difference(self.source)

    @property
    def drop(self) -> float:
        """The largest loss of AP, mIoU or PQ, in points; negative for a gain, infinite when one is lacking."""
        return self.export.drop_from(self.source)

    def raise_if_worse(self, max_drop: float = MAX_DROP) -> None:
        """Raises Mismatch when the export has lost more than `max_drop` points of AP, mIoU or PQ."""
        source, export = self.names
        for kind, drop in self.export.drops_from(self.source).items():
            headline = f"{kind} {HEADLINES[kind]}"
            if not math.isfinite(drop):
                raise Mismatch(
                    f"{export} lacks the {headline} that {source} has: it found nothing, or cannot find such."
                )
            if not drop <= max_drop:  # so that a bound of NaN allows nothing
                raise Mismatch(
                    f"{export} loses {drop:.3f} points of {headline} against {source}; allowed are {max_drop:g}. "
                    f"Raise --max-drop if that is acceptable."
                )

    def to_json(self) -> dict[str, Any]:
        """Both metrics for json.dump."""
        return {"source": self.source.to_json(), "export": self.export.to_json()}

    def __str__(self) -> str:
        source, export = self.names
        rows = [
            (iou_type, name, *(f"{m[iou_type][name]:.3f}" for m in (self.source, self.export)), f"{change:+.3f}")
            for iou_type, changes in self.difference.scores.items()
            for name, change in changes.items()
        ]
        header = ("", "metric", source, export, "difference")
        table = tabulate(rows, header, disable_numparse=True, colalign=("left", "left", "right", "right", "right"))
        return f"{source}\n{self.source}\n\n{export}\n{self.export}\n\n{table}"


def run_eval(
    artifact: Source,
    *,
    against: Source,
    device: str = "cpu",
    progress: Progress | None = None,
    **data: Unpack[Data],
) -> Comparison:
    """Evaluate `against` (the network) and `artifact` on the same images; `data` as in evaluate.

    Raises what evaluate raises; never Mismatch: see Comparison.raise_if_worse.
    """
    export, source = (  # the export first: what it lacks is said before the network has been run for nothing
        evaluate(model, device=device, progress=progress, **data).metrics for model in (artifact, against)
    )
    return Comparison(source=source, export=export, names=(against.format, artifact.format))
