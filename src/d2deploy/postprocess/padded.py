"""From the padded form of a network's outputs to the ragged one, which everything else here works on."""

import numpy as np

from d2deploy.artifact import COUNTS
from d2deploy.postprocess.frame import Outputs

_ROWLESS = frozenset({"sem_seg", "vertex_embeddings"})  # of whole images or of the model, the same in both forms


def to_ragged(outputs: Outputs) -> Outputs:
    """Rows [N,K,...] with their count [N] -> rows [D,...] with image_index [D]; what is ragged already as it is."""
    count = next((name for name in COUNTS.values() if name in outputs), None)
    if count is None:
        return outputs
    rows = {name: array for name, array in outputs.items() if name != count and name not in _ROWLESS}
    slots = next(iter(rows.values())).shape[1]
    is_there = np.arange(slots) < outputs[count][:, None]
    ragged = {name: array[is_there] for name, array in rows.items()}
    others = {name: outputs[name] for name in _ROWLESS if name in outputs}
    return {**ragged, "image_index": np.nonzero(is_there)[0], **others}


def ragged_names(names: set[str]) -> set[str]:
    """What the outputs of those names are called in the ragged form."""
    return {"image_index" if name in COUNTS.values() else name for name in names}
