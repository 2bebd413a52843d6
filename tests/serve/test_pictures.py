"""Images over HTTP: what a body may be, what is refused before it is decoded, and a real server."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_data import LABELS, picture, stored
from running_server import Server, running

from imbik.export.artefact import export
from imbik.runtime.predictor import load_artefact
from imbik.serve.batcher import Batcher
from imbik.serve.metrics import Metrics
from imbik.serve.pictures import read_images, read_rows
from imbik.serve.refusals import Refusal
from imbik.serve.settings import Limits
from imbik.testing.tiny_images import tiny_image_model

LIMITS = Limits(texts=3)
GOOD = stored(picture("red", 1))
TEXTS = Path(__file__).parents[1] / "frozen" / "artefacts" / "onnx-int8"


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few bytes whose header states a side: nothing of it may be decoded."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


def packed(*images: bytes) -> bytes:
    return json.dumps({"inputs": [base64.b64encode(image).decode() for image in images]}).encode()


@pytest.mark.parametrize(
    ("body", "kind", "batch"),
    [
        (GOOD, "image/png", False),
        (GOOD, "application/octet-stream", False),
        (GOOD, "IMAGE/JPEG; q=1", False),  # Pillow looks at the bytes, not at what a client calls them
        (packed(GOOD), "application/json", True),
        (packed(GOOD), None, True),
        (json.dumps({"inputs": f"data:image/png;base64,{base64.b64encode(GOOD).decode()}"}).encode(), "application/json", False),
    ],
    ids=range(6),
)
def test_bytes_and_base64_are_the_same_image(body: bytes, kind: str | None, batch: bool) -> None:
    asked = read_images(body, kind, LIMITS)
    assert list(asked.rows) == [GOOD] and asked.batch == batch and not asked.raw


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (bomb(), "image/png", 413, "image 1: the image is too large"),
        (packed(GOOD, bomb()), "application/json", 413, "image 2: the image is too large"),
        (b"<svg/>", "image/svg+xml", 422, "not an image"),
        (b"", "image/png", 422, "no bytes"),
        (b"a=b", "multipart/form-data; boundary=x", 415, "the model reads images"),
        (b"hello", "text/plain", 415, "the model reads images"),
        (b"{", "application/json", 400, "not valid JSON"),
        (b'{"inputs": []}', "application/json", 422, "an image in base64"),
        (b'{"inputs": ["a text"]}', "application/json", 422, "image 1 is not base64"),
        (packed(*[GOOD] * 4), "application/json", 422, "4 images in one request; at most 3"),
    ],
    ids=range(10),
)
def test_another_body_is_refused_in_one_sentence(body: bytes, kind: str, status: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        read_images(body, kind, LIMITS)
    assert refused.value.status == status


def test_an_image_for_a_model_of_texts_is_refused() -> None:
    with pytest.raises(Refusal, match="reads texts") as refused:
        read_rows(GOOD, "image/png", LIMITS, images=False)
    assert refused.value.status == 415
    assert read_rows(b'{"inputs": "a"}', "application/json", LIMITS, images=False).texts == ["a"]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "onnx"
    export(tiny_image_model("resnet", LABELS), "onnx", folder, texts=[np.asarray(picture(label, 0, 16)) for label in LABELS])
    return folder


def test_a_broken_image_costs_its_neighbors_nothing(artefact: Path) -> None:
    broken = GOOD[:-40]

    async def scene() -> list[Any]:
        batcher = Batcher(load_artefact(artefact, threads=1), "m", Limits(), Metrics())
        # behind the first request the others wait, and go together
        asked = [read_images(image, "image/png", LIMITS) for image in (GOOD, broken, GOOD)]
        found = await asyncio.gather(*(batcher.answers(one, 30) for one in asked), return_exceptions=True)
        await batcher.close()
        return found

    first, second, third = asyncio.run(scene())
    assert isinstance(second, Refusal) and second.status == 422 and "image 1: the image is broken" in second.message
    assert first == third and first[0]["labels"][0]["label"] in LABELS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, artefact: Path) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), f"pictures={artefact}", f"texts={TEXTS}") as one:
        yield one


def sent(server: Server, body: bytes, kind: str, path: str = "/predict") -> tuple[int, Any]:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    line.request("POST", path, body, {"Content-Type": kind})
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_server_answers_as_the_predictor_and_refuses_the_rest(server: Server, artefact: Path) -> None:
    predictor = load_artefact(artefact, threads=1)
    images = [stored(picture(label, 3)) for label in LABELS]
    expected = predictor.predict(images)
    status, alone = sent(server, images[0], "image/png")
    assert status == 200
    assert {one["label"]: one["score"] for one in alone} == pytest.approx(dict(zip(LABELS, map(float, expected[0]), strict=True)), abs=1e-5)
    status, several = sent(server, packed(*images), "application/json", "/models/pictures/predict")
    assert status == 200
    assert [one[0]["label"] for one in several] == [LABELS[row] for row in expected.argmax(1)]
    assert sent(server, bomb(), "image/png")[0] == 413
    assert sent(server, GOOD[:-40], "image/png")[0] == 422
    assert sent(server, GOOD, "text/html")[0] == 415
    assert sent(server, GOOD, "image/png", "/models/texts/predict")[0] == 415
    assert sent(server, b'{"inputs": "a"}', "application/json", "/embed")[0] == 422


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_is_here_says_who_reads_what(server: Server) -> None:
    _, models, _ = server.ask("GET", "/models")
    assert {one["name"]: one["reads"] for one in models} == {"pictures": "images", "texts": "texts"}
    paths = server.ask("GET", "/openapi.json")[1]["paths"]
    content = paths["/predict"]["post"]["requestBody"]["content"]
    assert {"application/json", "application/octet-stream", "image/*"} == set(content)
    assert content["application/json"]["schema"]["$ref"].endswith("/ImagesRequest") and "415" in paths["/predict"]["post"]["responses"]
    assert len(paths["/models/{name}/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]) == 2
