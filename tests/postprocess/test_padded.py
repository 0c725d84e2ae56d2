"""From the padded form to the ragged one."""

import numpy as np

from d2deploy.postprocess import to_ragged


def test_rows_that_are_there() -> None:
    boxes = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    maps = np.zeros((3, 5, 4, 4), np.float32)
    masks = np.arange(6.0).reshape(3, 2, 1, 1)
    given = {"boxes": boxes, "num_detections": np.array([1, 0, 2]), "mask_probs": masks, "sem_seg": maps}
    ragged = to_ragged(given)
    assert set(ragged) == {"boxes", "image_index", "mask_probs", "sem_seg"}
    assert ragged["boxes"].tolist() == [boxes[0, 0].tolist(), boxes[2, 0].tolist(), boxes[2, 1].tolist()]
    assert ragged["image_index"].tolist() == [0, 2, 2] and ragged["image_index"].dtype == np.int64
    assert ragged["mask_probs"].ravel().tolist() == [0, 4, 5]
    assert ragged["sem_seg"] is maps


def test_none_at_all() -> None:
    ragged = to_ragged({"proposal_boxes": np.zeros((2, 3, 5), np.float32), "num_proposals": np.zeros(2, np.int64)})
    assert ragged["proposal_boxes"].shape == (0, 5) and ragged["image_index"].shape == (0,)


def test_what_is_ragged_stays() -> None:
    given = {"boxes": np.zeros((2, 4)), "image_index": np.zeros(2, np.int64)}
    assert to_ragged(given) is given
