"""Names of tensors: which tensor of a checkpoint belongs to which tensor of the network."""

from collections.abc import Mapping

from d2deploy.errors import WeightsError

Shape = tuple[int, ...]


def match_by_suffix(network: Mapping[str, Shape], checkpoint: Mapping[str, Shape]) -> dict[str, str]:
    """{network's name: checkpoint's name}, for checkpoints that know only the ends of the network's names.

    A network tensor takes the longest checkpoint name that is its own name or the end of it after a "."; among several
    that take the same one, those whose shape is another let go. Names without a partner are absent, a lone partner of
    another shape is present. The rule is detectron2's (checkpoint/c2_model_loading.py, 02b5c4e2).
    Raises WeightsError when two network tensors of the right shape take the same one.
    """
    claims: dict[str, list[str]] = {}
    for name in sorted(network):
        if source := _longest_end(name, checkpoint):
            claims.setdefault(source, []).append(name)
    pairs: dict[str, str] = {}
    for source, names in claims.items():
        fitting = [name for name in names if network[name] == checkpoint[source]]
        if len(fitting) > 1:
            raise WeightsError(
                f"{source} of the checkpoint could be {' or '.join(fitting[:3])} of the network. "
                f"Give the checkpoint that was trained with this config: it has full names."
            )
        pairs.update(dict.fromkeys(fitting or names, source))
    return pairs


def _longest_end(name: str, candidates: Mapping[str, Shape]) -> str | None:
    """The longest of `candidates` that equals `name` or ends it at a "."."""
    while name not in candidates:
        _, dot, name = name.partition(".")
        if not dot:
            return None
    return name
