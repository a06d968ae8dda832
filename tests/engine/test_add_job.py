"""Adding a model as a job of the engine, as the page does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.settings import Settings
from rosetta_ui.types import AddRequest, MatchRequest, Selection

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
STYLEGAN3 = str(VECTORS / "stylegan3_r_a" / "official.pkl")
STYLEGAN2 = str(VECTORS / "stylegan2_rosinality_b" / "official.pt")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(Settings(cache_dir=tmp_path / "cache", device="cpu")) as made:
        yield made


def states(engine: Engine) -> dict[str, str]:
    return {status.card.name: status.state for status in engine.models()}


def test_an_added_model_is_listed_and_matched(engine: Engine) -> None:
    assert states(engine)["stylegan3-afhq"] == "add"
    status = engine.wait(engine.start_add(AddRequest("stylegan3-afhq", STYLEGAN3)), 60)
    assert (status.kind, status.state) == ("add", "done"), status
    assert states(engine)["stylegan3-afhq"] == "ready"
    request = MatchRequest("stylegan3-afhq", ("test_resnet.random",), n_images=2, batch_size=2)
    status = engine.wait(engine.start_match(request), 120)
    assert status.state == "done", status
    assert engine.summary(status.result, Selection()).anchor_units == 862


def test_a_replaced_model_draws_from_its_new_file(engine: Engine) -> None:
    for file, side in ((STYLEGAN3, 64), (STYLEGAN2, 32)):
        job = engine.start_add(AddRequest("mine", file, replace=True))
        assert engine.wait(job, 60).state == "done"
        request = MatchRequest("mine", ("test_resnet.random",), n_images=2, psi=1.0)
        result = engine.wait(engine.start_match(request), 120).result
        assert engine.preview(result, 0).shape == (side, side, 3)


def test_a_bad_name_is_refused_at_once_and_a_bad_file_by_the_job(
    engine: Engine, tmp_path: Path
) -> None:
    with pytest.raises(BadRequestError, match="is no name for a model"):
        engine.start_add(AddRequest("<img onerror=alert(1)>", STYLEGAN3))
    (tmp_path / "page.pkl").write_text("<html>no model</html>")
    for name, file, said in (
        ("mine", str(tmp_path / "page.pkl"), "page.pkl"),
        ("dino", STYLEGAN2, "'dino' is a backbone"),
    ):
        status = engine.wait(engine.start_add(AddRequest(name, file)), 60)
        assert status.state == "failed"
        assert said in status.message
        assert status.hint
    assert "mine" not in states(engine)
