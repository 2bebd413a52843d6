"""Bodies of requests: the shapes of text-embeddings-inference, and one sentence for every other one."""

from __future__ import annotations

import json

import pytest

from imbik.serve.refusals import Refusal, overloaded
from imbik.serve.requests import Asked, check_kind, read_predict, timeout_of
from imbik.serve.settings import Limits, Served, named, read_tokens

LIMITS = Limits(texts=3, characters=10)


@pytest.mark.parametrize(
    ("inputs", "texts", "pairs", "batch"),
    [
        ("a", ["a"], None, False),
        (["a"], ["a"], None, False),
        (["a", "b"], ["a"], ["b"], False),
        ([["a"], ["b"]], ["a", "b"], None, True),
        ([["a", "x"], ["b", "y"]], ["a", "b"], ["x", "y"], True),
        ("", [""], None, False),
    ],
)
def test_the_shapes_of_text_embeddings_inference_are_read(inputs, texts, pairs, batch):
    asked = read_predict(json.dumps({"inputs": inputs}).encode(), LIMITS)
    assert (asked.texts, asked.pairs, asked.batch) == (texts, pairs, batch)
    assert (asked.raw, asked.top, asked.whole) == (False, None, False)


def test_settings_of_a_request_are_read():
    asked = read_predict(b'{"inputs": "a", "raw_scores": true, "truncate": false, "top": 2, "parameters": {}}', LIMITS)
    assert (asked.raw, asked.top, asked.whole) == (True, 2, True)


BAD = {
    "no json": (b"nope", 400),
    "nothing": (b"", 400),
    "half": (b'{"inputs": "a', 400),
    "not utf-8": (b'{"inputs": "\xff"}', 400),
    "half a letter": (b'{"inputs": "\\ud800"}', 400),
    "deep": (b"[" * 100_000, 400),
    "deep inputs": (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    "a list": (b"[]", 422),
    "no inputs": (b"{}", 422),
    "empty list": (b'{"inputs": []}', 422),
    "empty row": (b'{"inputs": [[]]}', 422),
    "three in a row": (b'{"inputs": ["a", "b", "c"]}', 422),
    "a number": (b'{"inputs": 5}', 422),
    "a number in a row": (b'{"inputs": [["a"], [5]]}', 422),
    "null": (b'{"inputs": null}', 422),
    "texts and pairs": (b'{"inputs": [["a"], ["a", "b"]]}', 422),
    "too many texts": (b'{"inputs": [["a"], ["a"], ["a"], ["a"]]}', 422),
    "a long text": (b'{"inputs": "12345678901"}', 422),
    "a long pair": (b'{"inputs": ["123456", "123456"]}', 422),
    "top of nothing": (b'{"inputs": "a", "top": 0}', 422),
    "top of a half": (b'{"inputs": "a", "top": 1.5}', 422),
    "top in words": (b'{"inputs": "a", "top": "2"}', 422),
    "truncate in words": (b'{"inputs": "a", "truncate": "yes"}', 422),
}


@pytest.mark.parametrize("name", BAD)
def test_another_body_is_refused_in_one_sentence(name):
    body, status = BAD[name]
    with pytest.raises(Refusal) as refused:
        read_predict(body, LIMITS)
    assert refused.value.status == status
    assert refused.value.body["error_type"] == "validation"
    assert 10 < len(refused.value.message) < 200 and "\n" not in refused.value.message
    assert "pydantic" not in refused.value.message


def test_pairs_and_single_texts_are_not_taken_for_each_other():
    single, pair = Asked(["a"], None, False, False, None, False), Asked(["a"], ["b"], False, False, None, False)
    check_kind(None, single)
    check_kind(True, pair)
    check_kind(False, single)
    with pytest.raises(Refusal, match=r"\[\[\"a\"\], \[\"b\"\]"):
        check_kind(False, pair)
    with pytest.raises(Refusal, match="pairs"):
        check_kind(True, single)


@pytest.mark.parametrize(("header", "seconds"), [(None, 30.0), ("250", 0.25), ("99999999", 30.0), ("inf", 30.0)])
def test_a_client_may_ask_for_less_time(header, seconds):
    assert timeout_of(header, LIMITS) == seconds


@pytest.mark.parametrize("header", ["0", "-5", "soon", "nan", ""])
def test_a_time_that_is_none_is_refused(header):
    with pytest.raises(Refusal, match="X-Timeout-Ms"):
        timeout_of(header, LIMITS)


def test_a_full_queue_says_in_whole_seconds_when_to_come_back():
    assert overloaded(0.01).headers == {"Retry-After": "1"}
    assert overloaded(2.2).headers == {"Retry-After": "3"}


def test_artefacts_have_the_name_of_their_recipe_or_their_own(tmp_path):
    (tmp_path / "layers-1+int8/artefacts/onnx").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    found = named([str(tmp_path / "layers-1+int8/artefacts/onnx"), str(tmp_path / "mine"), f"new={tmp_path}/mine"])
    assert [one.name for one in found] == ["layers-1+int8", "mine", "new"]
    assert found[2] == Served("new", tmp_path / "mine")


@pytest.mark.parametrize("arguments", [["a=x", "a=y"], ["=x"], ["a/b=x"], ["..=x"], ["a b=x"]])
def test_names_that_cannot_be_told_apart_or_be_an_address_are_refused(arguments):
    with pytest.raises(Exception, match="name"):
        named(arguments)


def test_tokens_are_lines(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# ours\n\nabc\n def \n", "utf-8")
    assert read_tokens(file) == ("abc", "def")


@pytest.mark.parametrize("text", ["", "# none\n", "two words\n", "ğ\n"])
def test_a_file_without_a_usable_token_is_refused_and_not_shown(tmp_path, text):
    file = tmp_path / "tokens"
    file.write_text(text, "utf-8")
    with pytest.raises(Exception, match="token") as refused:
        read_tokens(file)
    assert "two words" not in str(refused.value)
