import copy
import pickle

import pytest

from d2deploy.config.node import Node

TREE = {"MODEL": {"RPN": {"NMS_THRESH": 0.7}, "MASK_ON": True}, "INPUT": {"SIZES": [[1], [2]], "PAIR": (1, [2])}}


def test_reads_like_detectron2s_node():
    cfg = Node(TREE)
    assert cfg.MODEL.RPN.NMS_THRESH == cfg["MODEL"]["RPN"]["NMS_THRESH"] == 0.7
    assert "RPN" in cfg.MODEL and "MASK" not in cfg.MODEL
    assert cfg.MODEL.get("MASK_ON") is True and cfg.get("X", 3) == 3
    assert list(cfg) == ["MODEL", "INPUT"] and len(cfg.MODEL) == 2
    assert dict(cfg.MODEL.items()) == {"RPN": Node({"NMS_THRESH": 0.7}), "MASK_ON": True}
    assert cfg.to_dict() == TREE
    assert "NMS_THRESH" in repr(cfg)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda n: pickle.loads(pickle.dumps(n))])
def test_can_be_copied_and_pickled(copied):
    assert copied(Node(TREE)) == Node(TREE)


def test_cannot_be_written():
    cfg = Node(TREE)
    with pytest.raises(AttributeError, match="override"):
        cfg.MODEL = 1
    with pytest.raises(AttributeError, match="cannot be changed"):
        del cfg.MODEL
    with pytest.raises(TypeError):
        cfg["MODEL"] = 1


def test_lists_are_its_own():
    tree = copy.deepcopy(TREE)
    cfg = Node(tree)
    cfg.INPUT.PAIR[1].append(3)
    tree["INPUT"]["SIZES"][0].append(9)
    cfg.to_dict()["INPUT"]["SIZES"].append(9)
    assert tree["INPUT"]["PAIR"] == (1, [2])
    assert cfg.INPUT.SIZES == [[1], [2]]


def test_sections_in_a_list_are_its_own_too():
    tree = {"BOOTSTRAP_DATASETS": [{"DATASET": "a"}]}
    cfg = Node(tree)
    cfg.to_dict()["BOOTSTRAP_DATASETS"][0]["DATASET"] = "b"
    tree["BOOTSTRAP_DATASETS"][0]["DATASET"] = "c"
    assert cfg.BOOTSTRAP_DATASETS == [{"DATASET": "a"}]


def test_a_missing_key_names_the_nearest():
    with pytest.raises(AttributeError, match="no key MASK_OM; the nearest is MASK_ON"):
        _ = Node(TREE).MODEL.MASK_OM
    with pytest.raises(KeyError):
        Node(TREE)["MODELS"]
