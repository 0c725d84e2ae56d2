"""Read a checkpoint file without running anything that is in it.

The file's suffix says what it is, as in detectron2 (checkpoint/detection_checkpoint.py, 02b5c4e2): `.pkl` is a pickle
of numpy arrays, of detectron2 or, older, of Caffe2; `.pyth` comes from pycls, and anything else is a file that
torch.save wrote. Only `.safetensors` is ours.
"""

import os
import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from d2deploy.errors import WeightsError
from d2deploy.optional import optional
from d2deploy.weights.pickles import STAND_INS, ForeignName, PickledArray, printable, read_pickle
from d2deploy.weights.safetensors import read_safetensors

if TYPE_CHECKING:
    import torch  # noqa: TID251 - its types only

ZIP = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first thing in a file that torch.save wrote before torch 1.6
SAVE_AGAIN = 'torch.save({"model": model.state_dict()}, "model.pth")'
_LOADING = threading.Lock()
_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a checkpoint, by the names that the file has for them.

    `tensors` are on the CPU, dense, of any of torch's plain dtypes, and of a .pth file they lie on its memory map:
    the file must stay as it is while they are in use. `needs_matching`: the names are only the ends of the network's
    names (detectron2's matching heuristics), or, when `author` is Caffe2, blobs that rename.py knows.
    """

    tensors: "dict[str, torch.Tensor]"
    author: str = ""
    needs_matching: bool = False
    path: Path | None = None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors in the checkpoint file `path`; optimizer, scheduler and the like are left out.

    A path may end in `?matching_heuristics=True`, as in detectron2. A `module.` that begins every name is taken off.
    Raises WeightsError for what cannot be read, with the reason: no such file, empty, cut off, another kind of file, an
    array that is not numbers, or a file that would run code. Raises MissingExtra without torch.
    """
    torch = optional("torch", extra="torch")
    file, asks_matching = _locate(path)
    head = _head(file)
    content = _READERS.get(file.suffix.lower(), _read_torch)(file, head)
    model = _model(content, file)
    tensors = {name: _tensor(torch, value, f"{file}: {name}") for name, value in model.items()}
    author = content.get("__author__", "")
    return Checkpoint(
        tensors=_without_module(tensors),
        author=author if isinstance(author, str) else "",
        needs_matching=asks_matching or content.get("matching_heuristics") is True,
        path=file,
    )


def _locate(path: str | Path) -> tuple[Path, bool]:
    text = str(path)
    if re.match(r"[a-z][a-z0-9+.-]+://", text):
        raise WeightsError(f"{text} is an address, not a file: d2deploy.weights.download fetches it.")
    name, has_query, query = text.rpartition("?")
    if not has_query or os.path.exists(text):
        return Path(path), False
    if query != "matching_heuristics=True":
        raise WeightsError(f"{text}: ?{query} has no meaning. Give the path alone, or add ?matching_heuristics=True.")
    return Path(name), True


def _head(path: Path) -> bytes:
    """The first bytes of the file, once it looks like a checkpoint at all."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder. Give the checkpoint file in it, such as model_final.pth.") from None
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist. Give the path of a checkpoint, such as model_final.pth.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Check the path and your rights to read it.") from error
    for start, what in _NOT_CHECKPOINTS.items():
        if head.lstrip().lower().startswith(start):
            raise WeightsError(f"{path} {what}")
    if not head:
        raise WeightsError(f"{path} is empty. Copy or download it again.")
    return head


_NOT_CHECKPOINTS = {
    b"<!doctype": "is a web page, not a checkpoint. Download the file itself, not the page that shows it.",
    b"<html": "is a web page, not a checkpoint. Download the file itself, not the page that shows it.",
    b"version https://git-lfs": "only stands for the real file in Git LFS. Fetch it: git lfs pull",
}


def _read_zoo(path: Path, head: bytes) -> dict[str, Any]:
    if head.startswith(ZIP):
        raise WeightsError(f"{path} was written by torch.save: it is not a pickle of numpy arrays. Rename it to .pth.")
    content = _read_plain(path)
    if content == LEGACY_MAGIC:
        raise WeightsError(f"{path} was written by torch.save: it is not a pickle of numpy arrays. Rename it to .pth.")
    content = _mapping(content, path)
    blobs = content.get("blobs")
    if isinstance(blobs, dict):
        return _caffe2(blobs)
    # Blobs of Caffe2 have no dots in their names, tensors of networks in torch always have.
    is_flat = "model" not in content and not any(isinstance(value, dict) for value in content.values())
    if is_flat and not any("." in str(name) for name in content):
        return _caffe2(content)
    return content


def _caffe2(blobs: dict[str, Any]) -> dict[str, Any]:
    """Blobs of Detectron, less those of its training."""
    kept = {name: value for name, value in blobs.items() if not str(name).endswith("_momentum")}
    return {"model": kept, "__author__": "Caffe2", "matching_heuristics": True}


def _read_plain(path: Path) -> Any:
    try:
        return read_pickle(path)
    except ForeignName as error:
        if error.name.startswith("torch."):
            raise WeightsError(
                f"{path} holds {error.name}: a .pkl holds numpy arrays, not torch tensors. "
                f"Save it again where you made it: {SAVE_AGAIN}"
            ) from None
        raise _runs_code(path, error.name) from None
    except Exception as error:  # a damaged pickle breaks anywhere in its interpreter
        raise _damaged(path, "a pickle of numpy arrays", error) from error


def _read_pycls(path: Path, head: bytes) -> dict[str, Any]:
    """pycls calls the tensors model_state, and the beginnings of the network's names are not in theirs."""
    content = _read_torch(path, head)
    if "model_state" not in content:
        raise WeightsError(f"{path} has no 'model_state': pycls did not write it. Rename it to .pth if torch.save did.")
    state = _mapping(content["model_state"], path)
    kept = {name: value for name, value in state.items() if not str(name).endswith("num_batches_tracked")}
    return {"model": kept, "__author__": "pycls", "matching_heuristics": True}


def _read_safetensors(path: Path, head: bytes) -> dict[str, Any]:
    try:
        return {"model": read_safetensors(path)}
    except (ValueError, OSError) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_torch(path: Path, head: bytes) -> dict[str, Any]:
    torch = optional("torch", extra="torch")
    is_zip = head.startswith(ZIP)
    if is_zip:
        _check_zip(path)
    try:
        with _numpy_allowed(torch):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged file breaks anywhere in torch
        if name := re.search(r"GLOBAL (\S+)", str(error)):
            raise _runs_code(path, printable(name[1])) from None
        raise _damaged(path, "a file of torch.save", error) from error
    return _mapping(content, path)


@contextmanager
def _numpy_allowed(torch: ModuleType) -> Iterator[None]:
    """Trainers save numpy numbers beside the tensors: allow stand-ins for them, and nothing that others have allowed.

    What torch allows holds for the whole process, hence the lock.
    """
    allowed = torch.serialization
    with _LOADING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of unusual pickle protocols; what matters becomes an error
        before = allowed.get_safe_globals()
        allowed.clear_safe_globals()
        allowed.add_safe_globals(list(STAND_INS.values()))
        try:
            yield
        finally:
            allowed.clear_safe_globals()
            allowed.add_safe_globals(before)


def _check_zip(path: Path) -> None:
    """torch.load tells a broken file only in its own terms, and unpacks what a file of 1 MB claims are 100 GB."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except Exception as error:  # as above
        raise _damaged(path, "a file of torch.save", error) from error
    names = [entry.filename.rpartition("/")[2] for entry in entries]
    if "constants.pkl" in names:
        raise WeightsError(f"{path} is a TorchScript model, not a checkpoint. Give the checkpoint it was made from.")
    if "data.pkl" not in names:
        raise WeightsError(f"{path} is a zip file, but not of torch.save. Give a checkpoint, such as model_final.pth.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WeightsError(f"{path} is compressed, which torch.save never does. Save it again: {SAVE_AGAIN}")


def _runs_code(path: Path, name: str) -> WeightsError:
    return WeightsError(
        f"{path} tries to run code: {name}. Nothing of it was run; a checkpoint needs only tensors. Get it from a "
        f"source you trust, or, if it is your own, save the tensors alone: {SAVE_AGAIN}"
    )


def _damaged(path: Path, form: str, error: Exception) -> WeightsError:
    # torch wraps its reason in advice to read the file without its protection, which nobody should follow.
    said = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search(r"(.+)", str(error))
    reason = type(error).__name__
    if said and "weights_only" not in said[1]:
        reason += f": {printable(said[1])}"
    return WeightsError(
        f"{path} cannot be read as {form} ({reason}). It is cut off, damaged or another kind of file: "
        f"copy or download it again, and keep its suffix (.pkl: numpy arrays, .pth: torch.save, .safetensors)."
    )


def _mapping(content: Any, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds {type(content).__name__}, not a dict of tensors. Save it again: {SAVE_AGAIN}")
    return content


def _model(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """{name: tensor} of a checkpoint: its 'model', or all of it when it is a bare state dict."""
    model = content.get("model", content)
    if not isinstance(model, dict) or not model:
        raise WeightsError(f"{path}: its 'model' holds no tensors. Save it again: {SAVE_AGAIN}")
    if "model" not in content and any(isinstance(value, dict) for value in model.values()):
        keys = ", ".join(printable(key) for key in list(model)[:10] if isinstance(key, str))
        raise WeightsError(
            f"{path} has no 'model' among its keys ({keys}): detectron2 did not write it. "
            f"Save the tensors under detectron2's names: {SAVE_AGAIN}"
        )
    for name in model:
        if not isinstance(name, str) or printable(name) != name:
            raise WeightsError(f"{path} holds a tensor whose name is not text. Save it again: {SAVE_AGAIN}")
    return model


def _tensor(library: ModuleType, value: Any, where: str) -> "torch.Tensor":
    if isinstance(value, PickledArray) and value.value is not None:
        native = value.value.dtype.newbyteorder("=")
        array: torch.Tensor = library.from_numpy(value.value.astype(native, copy=False))
        return array
    if not isinstance(value, library.Tensor):
        raise WeightsError(f"{where} is {type(value).__name__}, not a tensor. Save the tensors alone: {SAVE_AGAIN}")
    is_plain = value.layout == library.strided and not (value.is_meta or value.is_quantized or value.is_nested)
    if not is_plain or value.dtype not in {getattr(library, name) for name in _DTYPES}:
        raise WeightsError(f"{where} is a {value.dtype} tensor of a kind that is not read. Save it as dense float32.")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise WeightsError(f"{where} claims shape {tuple(value.shape)}, more than the file holds. Save it contiguous.")
    tensor: torch.Tensor = value.detach()
    return tensor


def _without_module(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Names as they were before DistributedDataParallel put `module.` before each."""
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


_READERS: dict[str, Callable[[Path, bytes], dict[str, Any]]] = {
    ".pkl": _read_zoo,
    ".pyth": _read_pycls,
    ".safetensors": _read_safetensors,
}
