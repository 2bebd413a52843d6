"""Artefacts of a server: one process loads each once."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.serve import models, server
from imbik.serve.app import Factory, build_app
from imbik.serve.settings import Served, Settings
from imbik.testing.tiny_images import tiny_image_model

ARTEFACT = Path(__file__).parents[1] / "frozen" / "artefacts" / "onnx-float"


def settings(workers: int, path: Path = ARTEFACT) -> Settings:
    return Settings((Served("a", path),), threads=1, workers=workers, reload_s=0)


def test_one_worker_answers_with_what_was_checked(monkeypatch: pytest.MonkeyPatch):
    loaded = server._checked(settings(1))
    found: list[object] = []

    def twice(*arguments: object) -> None:
        raise AssertionError("it is loaded again")

    async def started() -> None:
        app = build_app(settings(1), loaded)
        async with app.app.router.lifespan_context(app.app):  # type: ignore[attr-defined]
            house = app.app.router.lifespan_context.__self__  # type: ignore[attr-defined]
            found.append(house.models["a"].predictor)

    monkeypatch.setattr(models, "load", twice)
    asyncio.run(started())
    assert found == [loaded["a"].predictor]
    assert loaded["a"].version.stamp[2] == (ARTEFACT / "manifest.json").stat().st_size


def test_several_workers_load_for_themselves():
    """What is loaded cannot be sent to another process."""
    assert server._checked(settings(2)) == {} and Factory(settings(2)).loaded == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_artefact_that_cannot_be_served_is_refused_before_a_worker_begins(workers: int, tmp_path: Path):
    shutil.copytree(ARTEFACT, tmp_path / "a")
    (tmp_path / "a" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="changed or cut short"):
        server._checked(settings(workers, tmp_path / "a"))
    with pytest.raises(UserError, match="no such artefact folder"):
        server._checked(settings(workers, tmp_path / "b"))


def test_an_artefact_that_reads_images_is_loaded_and_warm(tmp_path: Path):
    export(tiny_image_model(), "onnx", tmp_path / "a", texts=[np.zeros((16, 16, 3), np.uint8)])
    assert server._checked(settings(1, tmp_path / "a"))["a"].predictor.task == "image-classification"
