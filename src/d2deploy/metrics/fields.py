"""Do the rows of an annotation file have the fields they must have, each of the right kind?"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from d2deploy.errors import DatasetError


class Field(NamedTuple):
    """What a value must be: as a test, and in words."""

    fits: Callable[[Any], bool]
    wanted: str
    is_required: bool = True


Fields = Mapping[str, Field]


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number, and no bool."""
    return type(value) in (int, float) and math.isfinite(value)


ID = Field(lambda value: type(value) in (int, str), "a whole number")
WHOLE = Field(lambda value: type(value) is int, "a whole number")
NUMBER = Field(is_number, "a number")
TEXT = Field(lambda value: isinstance(value, str) and bool(value), "a text")
EDGE = Field(lambda value: type(value) is int and value > 0, "a whole number above 0")
ROWS = Field(lambda value: isinstance(value, list), "a list")
IS_THING = Field(lambda value: value in (0, 1), "0 or 1")
IS_CROWD = Field(lambda value: value in (0, 1), "0 or 1", is_required=False)
IMAGE: Fields = {"id": ID, "file_name": TEXT, "height": EDGE, "width": EDGE}


def read_json(path: str | Path, kind: str) -> Any:
    """What a json file holds; `kind` is the word for what it should be. Raises DatasetError: missing, not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DatasetError(f"{path} cannot be read as {kind}: {reason}. Check the path.") from error


def check_rows(rows: Sequence[Any], fields: Fields, *, where: str, name: str) -> None:
    """Raises DatasetError, which names the entry of list `name`, unless each row is a dict with the right fields."""
    for number, row in enumerate(rows):
        here = f"{where}: entry {number} of {name!r}"
        required = [key for key, field in fields.items() if field.is_required]
        if lacking := [key for key in required if not isinstance(row, dict) or key not in row]:
            raise DatasetError(f"{here} has no {', '.join(lacking)}. Add what is lacking.")
        for key, (fits, wanted, _) in fields.items():
            if key in row and not fits(row[key]):
                raise DatasetError(f"{here}: {key} is {str(row[key])[:80]!r}; it must be {wanted}.")


def check_ids(ids: Sequence[int | str], where: str) -> None:
    """Raises DatasetError unless all ids of list `where` are of one kind, and none is there twice."""
    if len(set(map(type, ids))) > 1:
        raise DatasetError(f"{where} has ids that are numbers and ids that are texts. Use one kind.")
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise DatasetError(f"{where} has the id {twice} twice. Give each entry an id of its own.")
