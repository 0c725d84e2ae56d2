"""What an evaluation measured: numbers by kind of result, compared and printed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from tabulate import tabulate

HEADLINES = {"bbox": "AP", "segm": "AP", "keypoints": "AP", "sem_seg": "mIoU", "panoptic_seg": "PQ"}
"""Kind of result -> the one number that says whether an export has lost accuracy."""

CATEGORIES = ("AP-", "IoU-", "ACC-")  # what the numbers of one class begin with


@dataclass(frozen=True)
class Metrics:
    """Numbers in percent, keys as detectron2's evaluators have them.

    {"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-<class>" ...}, "segm": {...}, "keypoints": {...},
    "sem_seg": {"mIoU", "fwIoU", "IoU-<class>" ..., "mACC", "pACC", "ACC-<class>" ...},
    "panoptic_seg": {"PQ", "SQ", "RQ", "PQ_th" ..., "PQ_st" ...}}. NaN: nothing to measure.
    """

    scores: Mapping[str, Mapping[str, float]]

    def __getitem__(self, kind: str) -> Mapping[str, float]:
        return self.scores[kind]

    def __str__(self) -> str:
        return self.tables()

    def tables(self) -> str:
        """As detectron2 prints them: for each kind a summary and, with several classes, one a class."""
        parts = []
        for kind, scores in self.scores.items():
            parts.append(f"Evaluation results for {kind}:\n{_summary_table(scores)}")
            if not all(map(math.isfinite, scores.values())):
                parts.append("nan: nothing to measure, as the annotations or the results hold no such object.")
            for prefix in CATEGORIES:
                if any(key.startswith(prefix) for key in scores):
                    parts.append(f"Per-category {kind} {prefix[:-1]}:\n{_category_table(scores, prefix)}")
        return "\n".join(parts)

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """The same numbers for json.dump; NaN, which JSON does not have, is None."""
        return {
            kind: {key: value if math.isfinite(value) else None for key, value in scores.items()}
            for kind, scores in self.scores.items()
        }

    def difference(self, other: "Metrics") -> "Metrics":
        """What this has more than `other`, in percentage points, for every number that both have."""
        return Metrics(
            {
                kind: {key: value - other[kind][key] for key, value in scores.items() if key in other[kind]}
                for kind, scores in self.scores.items()
                if kind in other.scores
            }
        )

    def drops_from(self, other: "Metrics") -> dict[str, float]:
        """For each kind that `other` measured: the loss of its headline, in percentage points; negative for a gain.

        Infinite when it is lacking or NaN here; one that is NaN in `other` cannot be lost and is left out.
        """
        drops = {}
        for kind, scores in other.scores.items():
            headline = HEADLINES[kind]
            here = self.scores.get(kind, {}).get(headline, math.nan)
            if not math.isnan(scores[headline]):
                drops[kind] = math.inf if math.isnan(here) else scores[headline] - here
        return drops

    def drop_from(self, other: "Metrics") -> float:
        """The largest of drops_from; 0 where nothing can be lost."""
        return max(self.drops_from(other).values(), default=0.0)


def _summary_table(scores: Mapping[str, float]) -> str:
    table = {key: value for key, value in scores.items() if not key.startswith(CATEGORIES)}
    return tabulate(
        [list(table.values())], list(table), tablefmt="pipe", floatfmt=".3f", stralign="center", numalign="center"
    )


def _category_table(scores: Mapping[str, float], prefix: str) -> str:
    pairs = [(key.removeprefix(prefix), f"{value:.3f}") for key, value in scores.items() if key.startswith(prefix)]
    flat = [cell for pair in pairs for cell in pair]
    columns = min(6, len(flat))
    rows = list(zip_longest(*(flat[i::columns] for i in range(columns))))
    header = ["category", prefix[:-1]] * (columns // 2)
    # Text throughout: a class may be named "1".
    return tabulate(rows, header, tablefmt="pipe", stralign="left", disable_numparse=True)
