"""Checkpoint files as they come, whole and broken: tensors, or one clear error."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import d2deploy
from d2deploy.errors import WeightsError
from d2deploy.weights.read import Checkpoint, read_checkpoint

DEMO = Path(d2deploy.__file__).parent / "demo" / "model_final.pth"
ARRAYS = {
    "backbone.conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "backbone.conv.bias": np.array([0.5, -1.5], np.float32),
    "counter": np.array(7),
}
TENSORS = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}


def saved(content: object, *, is_zip: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


def pickled(content: object, protocol: int = 4) -> bytes:
    return pickle.dumps(content, protocol=protocol)


def write(folder: Path, data: bytes, name: str = "model.pth") -> Path:
    file = folder / name
    file.unlink(missing_ok=True)  # an older test may still have the file mapped
    file.write_bytes(data)
    return file


def safetensors(content: dict[str, np.ndarray]) -> bytes:
    rows: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in content.items():
        begin = len(data)
        data += array.tobytes()
        dtype = {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.itemsize)
        rows[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    header = json.dumps(rows).encode()
    return struct.pack("<Q", len(header)) + header + data


SAFETENSORS = safetensors(ARRAYS)
FORMS = {
    "pkl": ("model.pkl", pickled({"model": ARRAYS, "__author__": "me"})),
    "pkl_protocol_2": ("model.pkl", pickled({"model": OrderedDict(ARRAYS), "__author__": "me"}, 2)),
    "pkl_protocol_0": ("model.PKL", pickled({"model": ARRAYS, "__author__": "me"}, 0)),
    "pth": ("model.pth", saved({"model": TENSORS, "__author__": "me"})),
    "pth_legacy": ("model.pth", saved({"model": TENSORS, "__author__": "me"}, is_zip=False)),
    "pth_numpy": ("model.pth", saved({"model": ARRAYS, "__author__": "me"})),
    "pth_numpy_legacy": ("model.pth", saved({"model": ARRAYS, "__author__": "me"}, is_zip=False)),
    "bare": ("model.pth", saved(OrderedDict(TENSORS))),
    "bare_in_another_suffix": ("model.bin", saved(OrderedDict(TENSORS))),
    "bare_pkl": ("model.pkl", pickled(OrderedDict(ARRAYS))),
    "safetensors": ("model.safetensors", SAFETENSORS),
    "parallel": ("model.pth", saved({"model": {f"module.{name}": tensor for name, tensor in TENSORS.items()}})),
    "parameters": ("model.pth", saved({"model": {n: torch.nn.Parameter(t, False) for n, t in TENSORS.items()}})),
    "trainer": (
        "model_0004999.pth",
        saved(
            {
                "model": OrderedDict(TENSORS),
                "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
                "scheduler": {"last_epoch": np.int64(3), "best": np.float64(0.5), "curve": np.zeros(3)},
                "iteration": 4999,
            }
        ),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_tensors(form, tmp_path):
    name, data = FORMS[form]
    checkpoint = read_checkpoint(write(tmp_path, data, name))
    assert list(checkpoint.tensors) == list(TENSORS)
    for key, tensor in TENSORS.items():
        torch.testing.assert_close(checkpoint.tensors[key], tensor, rtol=0, atol=0)
        assert not checkpoint.tensors[key].requires_grad
    assert checkpoint.author == ("me" if b"__author__" in data else "")
    assert checkpoint.path == tmp_path / name
    assert not checkpoint.needs_matching


def test_the_real_checkpoint_is_the_same_in_both_forms(golden):
    zoo = read_checkpoint(golden / "models" / "mask_rcnn" / "model_final.pkl")
    trainer = read_checkpoint(str(DEMO))
    assert len(zoo.tensors) == 356
    assert zoo.tensors.keys() == trainer.tensors.keys()
    for name, tensor in zoo.tensors.items():
        assert tensor.dtype == trainer.tensors[name].dtype
        assert torch.equal(tensor, trainer.tensors[name]), name
    assert zoo.author == "Detectron2 Model Zoo"
    assert zoo.tensors["roi_heads.box_predictor.cls_score.weight"].std() > 1e-3


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists a process's memory maps")
def test_pth_stays_on_its_memory_map():
    tensor = read_checkpoint(DEMO).tensors["backbone.fpn_lateral2.weight"]
    spans = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if str(DEMO) in line]
    bounds = [[int(end, 16) for end in span.split("-")] for span in spans]
    assert any(start <= tensor.data_ptr() < end for start, end in bounds)


@pytest.mark.parametrize(
    ("name", "content", "query", "expected"),
    [
        ("a.pkl", {"model": ARRAYS, "__author__": "x"}, "", False),
        ("a.pkl", {"model": ARRAYS, "__author__": "x", "matching_heuristics": True}, "", True),
        ("a.pkl", {"model": ARRAYS, "__author__": "x", "matching_heuristics": False}, "", False),
        ("a.pkl", {"model": ARRAYS}, "?matching_heuristics=True", True),
        ("a.pth", {"model": TENSORS}, "?matching_heuristics=True", True),
        ("a?b.pth", {"model": TENSORS}, "", False),
        ("a.pth", {"model": TENSORS, "matching_heuristics": True}, "", True),
        ("a.pyth", {"model_state": {**TENSORS, "bn.num_batches_tracked": torch.tensor(3)}}, "", True),
    ],
)
def test_when_names_need_matching(name, content, query, expected, tmp_path):
    file = write(tmp_path, pickled(content) if name.endswith(".pkl") else saved(content), name)
    checkpoint = read_checkpoint(f"{file}{query}")
    assert checkpoint.needs_matching is expected
    assert list(checkpoint.tensors) == list(TENSORS)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_blobs_of_caffe2(is_wrapped, protocol, tmp_path):
    momentum, bias = np.ones(1, np.float32), np.zeros(2, np.float32)
    blobs = {"conv1_w": np.ones((2, 3), np.float32), "conv1_w_momentum": momentum, "_[mask]_fcn1_b": bias}
    content = {"blobs": blobs, "cfg": "MODEL: {}"} if is_wrapped else blobs
    checkpoint = read_checkpoint(write(tmp_path, pickled(content, protocol), "model_final.pkl"))
    assert list(checkpoint.tensors) == ["conv1_w", "_[mask]_fcn1_b"]
    assert checkpoint.author == "Caffe2"
    assert checkpoint.needs_matching
    assert checkpoint.tensors["conv1_w"].sum() == 6


class Call:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("place", ["model", "beside", "alone"])
@pytest.mark.parametrize("function", [os.mkdir, eval, os.path.join, print])
def test_a_pth_that_calls_something_is_refused(function, place, is_zip, tmp_path):
    mark = tmp_path / "mark"
    argument = f"__import__('os').mkdir({str(mark)!r})" if function is eval else str(mark)
    call = Call(function, (argument,))
    places = {"model": {"model": {**TENSORS, "w": call}}, "beside": {"model": TENSORS, "other": [call]}, "alone": call}
    file = write(tmp_path, saved(places[place], is_zip=is_zip))
    if function in (os.mkdir, eval):
        torch.load(file, weights_only=False)
        assert mark.is_dir(), "the test's own file does nothing: it proves nothing"
        mark.rmdir()
    with pytest.raises(WeightsError, match=r"tries to run code: \w+.*Nothing of it was run"):
        read_checkpoint(file)
    assert not mark.exists()


def test_what_others_allowed_torch_to_load_is_not_allowed_here(tmp_path):
    file = write(tmp_path, saved({"model": TENSORS, "path": Path("x")}))
    with torch.serialization.safe_globals([type(Path())]):
        before = set(torch.serialization.get_safe_globals())
        assert "path" in torch.load(file, weights_only=True)
        with pytest.raises(WeightsError, match="pathlib"):
            read_checkpoint(file)
        assert set(torch.serialization.get_safe_globals()) == before
    read_checkpoint(write(tmp_path, saved({"model": ARRAYS})))
    with pytest.raises(pickle.UnpicklingError, match="numpy"):
        torch.load(tmp_path / "model.pth", weights_only=True)


def scripted() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("model/data.pkl", b"x")
        file.writestr("model/constants.pkl", b"x")
    return stream.getvalue()


def zipped(*, method: int = zipfile.ZIP_STORED, name: str = "model/data.pkl") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        file.writestr(name, bytes(10_000))
    return stream.getvalue()


HTML = b"\n<!DOCTYPE html>\n<html><body>404</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PARTLY = {**TENSORS, "w": None}
BAD = {
    "empty_pkl": ("a.pkl", b"", "is empty"),
    "empty_pth": ("a.pth", b"", "is empty"),
    "web_page_pth": ("a.pth", HTML, "is a web page"),
    "web_page_pkl": ("a.pkl", HTML, "is a web page"),
    "git_lfs": ("a.pkl", LFS, "git lfs pull"),
    "yaml": ("a.pth", b"MODEL:\n  WEIGHTS: x\n", "cannot be read as a file of torch.save"),
    "yaml_pkl": ("a.pkl", b"MODEL:\n  WEIGHTS: x\n", "cannot be read as a pickle"),
    "zeros": ("a.pth", bytes(4096), "cannot be read as a file of torch.save"),
    "zeros_pkl": ("a.pkl", bytes(4096), "cannot be read as a pickle"),
    "safetensors": ("a.safetensors", b"x", "cannot be read as safetensors .*shorter than its header"),
    "torchscript": ("a.pth", scripted(), "is a TorchScript model"),
    "another_zip": ("a.pth", zipped(name="a.docx"), "zip file, but not of torch.save"),
    "compressed": ("a.pth", zipped(method=zipfile.ZIP_DEFLATED), "is compressed"),
    "zip_only_begun": ("a.pth", b"PK\x03\x04" + bytes(100), "cannot be read as a file of torch.save"),
    "pkl_is_pth": ("a.pkl", saved(TENSORS), "Rename it to .pth"),
    "pkl_is_old_pth": ("a.pkl", saved(TENSORS, is_zip=False), "Rename it to .pth"),
    "pth_is_pkl": ("a.pth", pickled({"model": ARRAYS}), "keep its suffix"),
    "tensors_in_pkl": ("a.pkl", pickled({"model": TENSORS}), "holds torch.*numpy arrays, not torch tensors"),
    "caffe2_number": ("a.pkl", pickled({"conv1_w": ARRAYS["counter"], "lr": 0.1}), "lr is float, not a tensor"),
    "caffe2_empty": ("a.pkl", pickled({"blobs": {}}), "holds no tensors"),
    "caffe2_momentum_alone": ("a.pkl", pickled({"conv1_w_momentum": ARRAYS["counter"]}), "holds no tensors"),
    "another_framework_pkl": ("a.pkl", pickled({"state_dict": ARRAYS, "meta": 1}), "no 'model' among its keys"),
    "list_pkl": ("a.pkl", pickled([1]), "holds list, not a dict"),
    "list_pth": ("a.pth", saved([1]), "holds list, not a dict"),
    "tensor": ("a.pth", saved(torch.zeros(3)), "holds Tensor, not a dict"),
    "no_tensors": ("a.pth", saved({"model": {}}), "holds no tensors"),
    "empty_dict": ("a.pth", saved({}), "holds no tensors"),
    "model_is_a_list": ("a.pkl", pickled({"model": [1]}), "holds no tensors"),
    "another_framework": (
        "a.pth",
        saved({"state_dict": TENSORS, "meta": {}}),
        r"no 'model' among its keys \(state_dict",
    ),
    "not_pycls": ("a.pyth", saved({"model": TENSORS}), "no 'model_state'"),
    "none_in_model": ("a.pth", saved({"model": PARTLY}), "w is NoneType, not a tensor"),
    "list_in_model": ("a.pkl", pickled({"model": {"w": [1.0]}}), "w is list, not a tensor"),
    "number_as_name": ("a.pth", saved({"model": {3: torch.zeros(3)}}), "name is not text"),
    "escape_in_name": ("a.pth", saved({"model": {"a\x1b[0m": torch.zeros(3)}}), "name is not text"),
    "sparse": ("a.pth", saved({"model": {"w": torch.eye(3).to_sparse()}}), "of a kind that is not read"),
    "on_meta": ("a.pth", saved({"model": {"w": torch.zeros(3, device="meta")}}), "of a kind that is not read"),
    "complex": ("a.pth", saved({"model": {"w": torch.zeros(3, dtype=torch.complex64)}}), "of a kind that is not read"),
    "expanded": ("a.pth", saved({"model": {"w": torch.zeros(1).expand(10**12)}}), "claims shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_checkpoint_says_so(case, tmp_path):
    name, data, says = BAD[case]
    file = write(tmp_path, data, name)
    with pytest.raises(WeightsError, match=says) as refused:
        read_checkpoint(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value), "torch's advice to switch the protection off"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("absent.pth", "does not exist"),
        ("absent.pkl", "does not exist"),
        (".", "is a folder"),
        ("a\0b.pth", "cannot be read"),
        ("x" * 300 + ".pth", "cannot be read"),
        ("absent.pth?matching_heuristics=True", "does not exist"),
        ("absent.pth?x=1", "has no meaning"),
        ("detectron2://ImageNetPretrained/MSRA/R-50.pkl", "is an address, not a file"),
        ("https://dl.fbaipublicfiles.com/detectron2/model_final.pkl", "is an address, not a file"),
    ],
)
def test_paths_without_a_checkpoint(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=says):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "form", ["pkl", "pkl_protocol_2", "pkl_protocol_0", "pth", "pth_legacy", "trainer", "safetensors"]
)
def test_cut_off_anywhere(form, tmp_path):
    name, data = FORMS[form]
    step = 1 if name.lower().endswith("pkl") else 37
    for length in {*range(0, len(data), step), len(data) - 1}:
        with pytest.raises(WeightsError):
            read_checkpoint(write(tmp_path, data[:length], name))


def test_the_real_files_cut_off(golden, tmp_path):
    for file in (golden / "models" / "mask_rcnn" / "model_final.pkl", DEMO):
        data = file.read_bytes()
        for length in (10, 1000, len(data) // 2, len(data) - 1):
            with pytest.raises(WeightsError, match="cut off"):
                read_checkpoint(write(tmp_path, data[:length], file.name))


@pytest.mark.parametrize(
    "form", ["pkl", "pkl_protocol_2", "pkl_protocol_0", "pth", "pth_legacy", "pth_numpy", "safetensors"]
)
def test_damage_gives_a_checkpoint_or_an_error(form, tmp_path_factory):
    folder = tmp_path_factory.mktemp(form)
    name, data = FORMS[form]
    outcomes: set[type] = {type(read_checkpoint(write(folder, data, name)))}  # undamaged, it is one

    @settings(max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=6))
    def damage(changes):
        damaged = bytearray(data)
        for position, byte in changes:
            damaged[position] = byte
        try:
            outcomes.add(type(read_checkpoint(write(folder, bytes(damaged), name))))
        except WeightsError as error:
            outcomes.add(type(error))

    damage()
    assert outcomes == {Checkpoint, WeightsError}


def test_importing_needs_no_torch():
    code = "import sys, d2deploy.weights.read, d2deploy.weights.match; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
