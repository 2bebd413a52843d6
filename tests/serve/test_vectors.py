"""Vectors over HTTP: text-embeddings-inference's ``/embed`` and OpenAI's ``/v1/embeddings``."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running_server import running

from imbik.export.artefact import export
from imbik.models.teacher import Teacher
from imbik.runtime.predictor import load_artefact
from imbik.serve.refusals import Refusal
from imbik.serve.requests import Asked
from imbik.serve.settings import Limits
from imbik.serve.vectors import as_openai, normalized, read_embed, read_embeddings, vectors_of
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_splits

SINGLE = Path(__file__).parents[1] / "frozen" / "artefacts" / "onnx-int8"
LIMITS = Limits(texts=3, characters=10)


def test_texts_are_read_in_both_forms():
    asked, request = read_embed(b'{"inputs": "a", "normalize": false, "truncate": false, "prompt_name": null}', LIMITS)
    assert asked == Asked(["a"], None, True, False, None, True) and not request.normalize
    asked, told = read_embeddings(b'{"input": ["a", "b"], "model": "m", "encoding_format": "base64", "user": "u"}', LIMITS)
    assert asked.texts == ["a", "b"] and asked.pairs is None and (told.model, told.encoding_format) == ("m", "base64")


BAD = [(b"nope", 400), (b"[]", 422), (b'{"inputs": []}', 422), (b'{"inputs": [["a"]]}', 422), (b'{"inputs": 3}', 422)]
BAD += [(b'{"inputs": ["a", "b", "c", "d"]}', 422), (b'{"inputs": "a text that is too long"}', 422)]


@pytest.mark.parametrize(("body", "status"), BAD)
def test_other_bodies_are_refused(body, status):
    for read, name in ((read_embed, b"inputs"), (read_embeddings, b"input")):
        with pytest.raises(Refusal) as refused:
            read(body.replace(b"inputs", name), LIMITS)
        assert refused.value.status == status and "pydantic" not in refused.value.message


def test_vectors_come_in_the_forms_that_clients_know():
    vectors = vectors_of([{"vector": [3.0, 4.0]}, {"vector": [0.0, 2.0]}])
    np.testing.assert_allclose(normalized(vectors), np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True))
    _, packed = read_embeddings(b'{"input": "a", "encoding_format": "base64"}', LIMITS)
    found = as_openai(vectors, packed, "m", 7)
    # as openai's own client decodes it
    numbers = [np.frombuffer(base64.b64decode(one["embedding"]), dtype="float32").tolist() for one in found["data"]]
    assert numbers == vectors and [one["index"] for one in found["data"]] == [0, 1]
    assert found["usage"] == {"prompt_tokens": 7, "total_tokens": 7} and found["model"] == "m"
    with pytest.raises(Refusal, match="gives no vectors"):
        vectors_of([{"labels": []}])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_server_gives_the_vectors_of_the_predictor(tmp_path):
    splits = tiny_splits("embedding", rows=24, pairs=True)
    teacher = Teacher.of(tiny_bert(splits.labels, "embedding", layers=1))
    checkpoint = replace(make_student("bag-16", teacher, splits.train, 0), pairs=False)
    export(checkpoint, "numpy", tmp_path / "bag", texts=splits.dev)
    texts = ["the card", "my money is late", ""]
    predictor = load_artefact(tmp_path / "bag")
    wanted = predictor.predict(texts)
    with running(tmp_path, f"bag={tmp_path / 'bag'}", f"labels={SINGLE}") as server:
        status, found, _ = server.ask("POST", "/embed", {"inputs": texts})
        assert status == 200
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        np.testing.assert_allclose(server.ask("POST", "/models/bag/embed", {"inputs": texts[0]})[1], wanted[:1], atol=1e-6)
        status, found, _ = server.ask("POST", "/v1/embeddings", {"input": texts[:2], "model": "bag"})
        assert status == 200 and found["usage"]["total_tokens"] == sum(len(one.ids) for one in predictor.encode(texts[:2]))
        np.testing.assert_allclose([one["embedding"] for one in found["data"]], wanted[:2], atol=1e-6)
        np.testing.assert_allclose(server.predict(texts[0])["vector"], wanted[0], atol=1e-6)
        assert server.ask("POST", "/models/labels/embed", {"inputs": "a"})[0] == 422
        assert server.ask("POST", "/v1/embeddings", {"input": "a", "model": "other"})[0] == 404
        assert server.ask("POST", "/embed", {"inputs": "a"}, {"X-Timeout-Ms": "no"})[0] == 422
        paths = json.loads(json.dumps(server.ask("GET", "/openapi.json")[1]))["paths"]
        assert {"/embed", "/models/{name}/embed", "/v1/embeddings"} <= set(paths)
