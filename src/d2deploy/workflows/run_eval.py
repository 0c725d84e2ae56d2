"""What an export costs in accuracy: source and export evaluated on the same images."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from d2deploy.errors import Mismatch
from d2deploy.metrics.scores import Metrics
from d2deploy.runner import Source
from d2deploy.workflows.evaluate import Progress, evaluate

MAX_DROP = 0.1
"""AP points (of 100) that an export may lose before it counts as worse."""


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
        """The largest loss of box or mask AP, in points; negative for a gain, infinite when an AP is lacking."""
        return self.export.drop_from(self.source)

    def raise_if_worse(self, max_drop: float = MAX_DROP) -> None:
        """Raises Mismatch when the export has lost more than `max_drop` points of box or mask AP."""
        source, export = self.names
        if not math.isfinite(self.drop):
            raise Mismatch(f"{export} lacks an AP that {source} has: it found no object at all, or has no masks.")
        if not self.drop <= max_drop:  # so that a bound of NaN allows nothing
            raise Mismatch(
                f"{export} loses {self.drop:.3f} points of AP against {source}; allowed are {max_drop:g}. "
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
    coco_json: str | Path,
    image_root: str | Path,
    limit: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Comparison:
    """Evaluate `against` (the network) and `artifact` on the same images, as evaluate does.

    Raises what evaluate raises; never Mismatch: see Comparison.raise_if_worse.
    """

    def metrics(model: Source) -> Metrics:
        return evaluate(
            model, coco_json=coco_json, image_root=image_root, limit=limit, device=device, progress=progress
        ).metrics

    return Comparison(source=metrics(against), export=metrics(artifact), names=(against.format, artifact.format))
