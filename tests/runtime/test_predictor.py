"""The runtime: order, batching, odd texts, broken artefact folders, and no PyTorch."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.models.checkpoint import save_checkpoint
from imbik.runtime.engines.registry import engines
from imbik.runtime.manifest import verify
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.testing.tiny import tiny_bert

ODD = ["", " ", "🙂🙂", "我的卡在哪里", "card " * 2000, "x" * 10_000, "\ud800 lone surrogate", "a\x00b", "İIıi", "‮rtl"]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_bert(), "onnx", tmp_path_factory.mktemp("runtime") / "onnx").path


@pytest.fixture(scope="module")
def predictor(artefact: Path) -> Predictor:
    return load_artefact(artefact, threads=1)


def test_batches_answer_as_single_requests_do(predictor: Predictor) -> None:
    texts = ["where is my card", "bad", "the new fee is not good " * 4, "pay now", ""] * 9
    together = predictor.scores(texts)
    alone = np.concatenate([predictor.scores([text]) for text in texts])
    assert together.shape == (45, 3) and together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_pairs_reach_the_model_with_their_token_types(predictor: Predictor) -> None:
    texts, pairs = ["card lost", "bad", "open account today"], ["help", "the new card is good", ""]
    together = predictor.scores(texts, pairs)
    alone = np.concatenate([predictor.scores([one], [other]) for one, other in zip(texts, pairs, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(predictor.scores(texts) - together).max() > 1e-3


@pytest.mark.parametrize("trained", [True, False])
def test_a_model_of_pairs_takes_pairs_and_one_of_single_texts_single_ones(trained: bool, tmp_path: Path) -> None:
    from imbik.cli.app import main

    path = export(replace(tiny_bert(), pairs=trained), "onnx", tmp_path / "a").path
    model = load_artefact(path, threads=1)
    right, wrong = (["help"], None) if trained else (None, ["help"])
    assert model.predict(["card lost"], right).shape == (1, 3)
    kind = "pairs of texts" if trained else "single texts"
    with pytest.raises(UserError, match=f"was trained on {kind}"):
        model.predict(["card lost"], wrong)
    (tmp_path / "rows.csv").write_text("text\ncard lost\n" if trained else "text1,text2\ncard lost,help\n")
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(path), "--file", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "answers.csv")])
    assert not (tmp_path / "answers.csv").exists()


def test_odd_texts_get_probabilities(predictor: Predictor) -> None:
    probabilities = predictor.predict(ODD)
    assert probabilities.shape == (len(ODD), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    for text in ODD:
        assert np.isfinite(predictor.predict([text])).all()


def test_left_padding_gives_the_tokens_on_the_right(predictor: Predictor, artefact: Path) -> None:
    left = load_artefact(artefact, threads=1)
    left._left = True
    ids, mask, types = left._padded(np.array([0, 1]), [[7, 8, 9], [5]], None)
    assert ids.tolist() == [[7, 8, 9], [0, 0, 5]] and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert types is not None and types.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_lengths_are_rounded_up_to_the_multiple_and_no_further_than_the_longest(artefact: Path) -> None:
    twelves = load_artefact(artefact, threads=1, length_multiple=12)
    assert twelves.max_length == 32
    assert twelves._widths(np.array([1, 12, 13, 24, 25, 32])).tolist() == [12, 12, 24, 24, 32, 32]
    assert twelves._widths(np.array([40])).tolist() == [40], "to cut is the tokenizer's business"


def test_no_text_gives_no_row(predictor: Predictor) -> None:
    assert predictor.predict([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("texts", "pairs", "message"),
    [("one", None, "takes a list"), (["a", "b"], ["c"], "differ in number"), (["a", 3], None, "text 1: a text is not a string")],
)
def test_wrong_arguments_say_what_is_wrong(predictor: Predictor, texts: object, pairs: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        predictor.predict(texts, pairs)  # type: ignore[arg-type]


def test_batches_hold_every_row_once_and_keep_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 500).tolist()
    batches = list(token_batches(lengths, 128))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(rows) * max(lengths[row] for row in rows) <= 128 for rows in batches)


def _broken(artefact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artefact, tmp_path / "copy"))


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"not an artefact.*notes\.txt"):
        load_artefact(tmp_path)
    with pytest.raises(UserError, match="no such artefact folder"):
        load_artefact(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "another schema.*99"),
        ({"labels": None}, "'labels' is missing"),
        ({"engine": "abacus"}, "unknown engine 'abacus'"),
        ({"task": "poetry"}, "unknown task"),
    ],
)
def test_a_wrong_manifest_is_refused(artefact: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = _broken(artefact, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_artefact(folder)


def test_broken_json_is_refused(artefact: Path, tmp_path: Path) -> None:
    folder = _broken(artefact, tmp_path)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        load_artefact(folder)


def test_missing_cut_and_changed_files_are_found(artefact: Path, tmp_path: Path) -> None:
    folder = _broken(artefact, tmp_path)
    model = folder / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-10])
    with pytest.raises(UserError, match="changed or cut short"):
        load_artefact(folder)
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="a file of the artefact was changed"):
        verify(folder)
    model.unlink()
    with pytest.raises(UserError, match=r"model\.onnx: a file of the artefact is missing"):
        load_artefact(folder)


def test_a_missing_engine_gives_the_install_command(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imbik.runtime.engines.engine.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="onnxruntime: package not installed"):
        load_artefact(artefact)


def test_predicting_and_measuring_load_no_torch(artefact: Path) -> None:
    code = (
        "import sys, imbik.measure.run, imbik.measure.worker\n"
        "import imbik.cli.commands.predict, imbik.cli.commands.measure, imbik.cli.commands.export\n"
        "from imbik.runtime.predictor import load_artefact\n"
        f"load_artefact({str(artefact)!r}).predict(['a card', 'b'])\n"
        "print(sorted({'torch', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_texts_come_in_every_kind_of_column(artefact: Path) -> None:
    predictor, texts = load_artefact(artefact, threads=1), ["my card is lost", "good money", "pay"]
    expected = predictor.scores(texts)
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(texts, index=[5, 6, 7])
    for column in (tuple(texts), np.array(texts), np.array(texts, dtype=object), series, deque(texts), (text for text in texts)):
        np.testing.assert_array_equal(predictor.scores(column), expected)
    np.testing.assert_allclose(predictor.scores(series[series == "pay"]), expected[2:], atol=1e-5)
    pyarrow = pytest.importorskip("pyarrow")
    np.testing.assert_array_equal(predictor.scores(pyarrow.array(texts)), expected)


@pytest.mark.parametrize("texts", [None, {"a", "b"}, {"a": "b"}, {"a": "b"}.values(), b"bytes", 7, np.array([["a", "b"]]), np.array("a")])
def test_what_is_no_column_of_texts_is_one_message(texts: object, artefact: Path) -> None:
    with pytest.raises(UserError, match="predict takes a list of texts"):
        load_artefact(artefact, threads=1).predict(texts)  # type: ignore[arg-type]


def test_a_table_is_told_to_name_its_column(artefact: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(UserError, match="name its column"):
        load_artefact(artefact, threads=1).predict(pandas.DataFrame({"text": ["a", "b"]}))


@pytest.mark.parametrize("texts", [[("a", "b")], [("a", "b"), ("c", "d")], ["a", None], ["a", 1.5], [b"a"]])
def test_an_element_that_is_no_text_is_one_message(texts: list[object], artefact: Path) -> None:
    with pytest.raises(UserError, match="a text is not a string"):
        load_artefact(artefact, threads=1).predict(texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", [[("a", "b")], [("a", "b"), "c"], [["a"]], [None], [b"a"]])
@pytest.mark.parametrize("second", [False, True])
def test_an_element_of_a_pair_that_is_no_text_is_one_message(texts: list[object], second: bool) -> None:
    predictor, other = load_artefact(Path(__file__).parents[1] / "frozen" / "artefacts" / "pairs", threads=1), ["x"] * len(texts)
    with pytest.raises(UserError, match="a text is not a string"):
        predictor.predict(*((other, texts) if second else (texts, other)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["threads", "batch_tokens", "length_multiple"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "2", 2**40])
def test_settings_out_of_range_are_refused(name: str, value: object, artefact: Path) -> None:
    with pytest.raises(UserError, match=f"{name}: must be a whole number above zero"):
        load_artefact(artefact, **{name: value})  # type: ignore[arg-type]
    assert load_artefact(artefact, **{name: np.int64(2)}).predict(["my card"]).shape == (1, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("family", "attention"), [("bert", "sdpa"), ("deberta-v2", "eager")])
def test_how_the_baseline_computes_attention_is_recorded(family: str, attention: str, tmp_path: Path) -> None:
    save_checkpoint(tiny_bert(family=family), tmp_path)
    model = load_artefact(tmp_path, engine_name="pytorch")
    assert model.manifest["attention"] == attention
    assert [note.kind for note in engines()["pytorch"].notes(model.manifest)] == ["pytorch", *(["eager"] if attention == "eager" else [])]


def _answers(predictor: Predictor, texts: list[str]) -> list[list[float]]:
    return np.asarray(predictor.predict(texts)).tolist()


def test_a_predictor_is_copied_and_sent_to_a_process_that_shares_nothing(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As joblib, Spark and the process pools of macOS and Windows do, from whatever folder they work in."""
    monkeypatch.chdir(artefact.parent)
    opened = load_artefact(artefact.name, threads=1, batch_tokens=64)
    texts = ["where is my card", "bad", "the new fee is not good"]
    expected = _answers(opened, texts)
    monkeypatch.chdir("/")
    for again in (pickle.loads(pickle.dumps(opened)), copy.deepcopy(opened), pickle.loads(pickle.dumps(copy.copy(opened)))):
        assert (again.batch_tokens, again.threads) == (64, 1) and again is not opened
        assert np.allclose(_answers(again, texts), expected, atol=1e-6)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert np.allclose(pool.submit(_answers, opened, texts).result(120), expected, atol=1e-6)


def test_a_predictor_without_a_folder_cannot_be_sent(predictor: Predictor, artefact: Path, tmp_path: Path) -> None:
    made = Predictor(predictor.manifest, Tokenizer.from_file(str(artefact / "tokenizer.json")), predictor.session)
    with pytest.raises(UserError, match="load_artefact"):
        pickle.dumps(made)
    moved = load_artefact(shutil.copytree(artefact, tmp_path / "moved"), threads=1)
    sent = pickle.dumps(moved)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(UserError, match="moved"):
        pickle.loads(sent)
