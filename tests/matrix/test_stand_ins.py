"""That a family which stands for others has what they have."""

from pathlib import Path
from typing import Any

from families import FAMILIES
from stand_ins import WHOLE

from d2deploy.config.model import read_model_config
from d2deploy.models.spec import FIELDS


def contract_of(family: str, folder: Path) -> set[Any]:
    """What goes into the network and comes out, by name and number of columns; what makes a picture of it."""
    row = FAMILIES[family]
    if not (config := row.config):
        config = str(folder / "config.yaml")
        Path(config).write_text("VERSION: 2\n")
    architecture = read_model_config(config, row.overrides, **row.sizes).architecture
    fields = FIELDS[type(architecture)](architecture)
    rules = {rule for rule in ("panoptic", "panoptic_deeplab") if fields.get(rule)}
    boxes = {(spec.name, spec.shape[1]) for spec in fields["outputs"] if spec.name in ("boxes", "proposal_boxes")}
    return {*rules, *boxes, *(spec.name for spec in (*fields.get("inputs", ()), *fields["outputs"]))}


def test_every_family_is_tried_or_stood_for(tmp_path: Path) -> None:
    assert sorted([*WHOLE, *(other for others in WHOLE.values() for other in others)]) == sorted(FAMILIES)
    for family, others in WHOLE.items():
        has = contract_of(family, tmp_path)
        for other in others:
            assert contract_of(other, tmp_path) <= has, (family, other)
    kinds = [frozenset(contract_of(family, tmp_path)) for family in WHOLE]
    assert len(set(kinds)) == len(kinds)
