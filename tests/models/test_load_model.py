"""load_model as a whole: files, addresses, names of official models."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from d2deploy import load_model
from d2deploy.errors import ConfigError, WeightsError

DEMO = Path(__file__).parents[2] / "src" / "d2deploy" / "demo"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The demo's folder over HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(DEMO))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_weights_are_fetched_once(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2DEPLOY_CACHE", str(tmp_path))
    told: list[tuple[int, int | None]] = []
    address = f"{server}/model_final.pth"
    model = load_model(DEMO / "config.yaml", address, progress=lambda done, total: told.append((done, total)))
    size = (DEMO / "model_final.pth").stat().st_size
    assert told[-1] == (size, size)
    assert model.source["weights"] == "model_final.pth"
    told.clear()
    load_model(DEMO / "config.yaml", address, progress=lambda done, total: told.append((done, total)))
    assert told == []


def test_an_official_model_by_name_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setenv("D2DEPLOY_ZOO_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"COCO-Detection/retinanet_R_50_FPN_1x/.*by hand"):
        load_model("COCO-Detection/retinanet_R_50_FPN_1x")


def test_a_name_that_is_none_has_neighbours() -> None:
    with pytest.raises(ConfigError, match="retinanet_R_50_FPN_1x"):
        load_model("COCO-Detection/retinanet_R_5_FPN_1x")


def test_class_names_of_the_data_set() -> None:
    model = load_model(DEMO / "config.yaml", DEMO / "model_final.pth")
    assert model.spec.class_names == ()  # nobody knows shapes_val
    with pytest.raises(ConfigError, match="2 class names were given for 8 classes"):
        load_model(DEMO / "config.yaml", DEMO / "model_final.pth", class_names=["a", "b"])


def test_a_lazy_config_gives_the_same_model() -> None:
    lazy = Path(__file__).parents[1] / "config" / "lazy_files" / "demo.py"
    weights = DEMO / "model_final.pth"
    ours, theirs = load_model(lazy, weights), load_model(DEMO / "config.yaml", weights)
    assert ours.spec == theirs.spec and ours.config == theirs.config
    assert ours.source["config"] == "demo.py" and ours.source["config_sha256"]
    changed = load_model(
        lazy, weights, overrides=["model.roi_heads.box_predictor.test_score_thresh", 0.5], min_size=100, max_size=200
    )
    assert changed.spec.thresholds is not None and changed.spec.thresholds.score == 0.5
    assert (changed.spec.preprocess.min_size, changed.spec.preprocess.max_size) == (100, 200)
    with pytest.raises(WeightsError, match=r"missing roi_heads\.mask_head\.mask_fcn1\.norm\.running_mean"):
        load_model(lazy, weights, overrides=["model.roi_heads.mask_head.conv_norm=BN"])
