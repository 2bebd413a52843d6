"""Outputs of any structure: put together from batches, taken apart for files, compared."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from imbik.measure.predictions import OutputFile, load_outputs
from imbik.tasks.outputs import Collector, Output, count_of, from_arrays, numbers_of, pack, ragged, take, to_arrays, unpack
from imbik.tasks.spans.places import places_of

ROWS = [np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.ones((1, 2))]


def test_a_ragged_array_comes_back_from_its_values_and_offsets() -> None:
    again = unpack(*pack(ragged(ROWS)))
    assert len(again) == 3 and all(np.array_equal(a, b) for a, b in zip(again, ROWS, strict=True))
    assert ragged([np.zeros(2), np.zeros(2)]).shape == (2,), "rows of one length stay rows"


@pytest.mark.parametrize(
    "outputs",
    [np.eye(3), ragged(ROWS), {"logits": ragged(ROWS)}, {"start": ragged(ROWS), "score": np.arange(3.0), "places": ragged(ROWS)}],
    ids=["rows", "ragged", "named", "several"],
)
def test_outputs_come_back_from_plain_arrays(outputs) -> None:
    arrays = to_arrays(outputs, "test") | {"testing": np.zeros(1)}
    assert all(array.dtype != object for array in arrays.values())
    again = from_arrays(arrays, "test")
    assert count_of(again) == count_of(outputs) == 3
    np.testing.assert_array_equal(numbers_of(again), numbers_of(outputs))
    np.testing.assert_array_equal(numbers_of(take(again, [2, 0])), numbers_of(take(outputs, [2, 0])))
    with pytest.raises(KeyError):
        from_arrays(arrays, "dev")


def test_batches_in_any_order_give_the_outputs_of_all_texts() -> None:
    collector = Collector(3, (Output("logits"),), 2)
    collector.put(np.array([2, 0]), np.array([[2.0, 2.0], [0.0, 0.0]]))
    collector.put(np.array([1]), np.array([[1.0, 1.0]]))
    rows = collector.result()
    assert rows.dtype == np.float32 and rows.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert Collector(0, (Output("logits"),), 5).result().shape == (0, 5)


@pytest.mark.parametrize("left", [False, True])
def test_padding_on_either_side_is_cut_off(left: bool) -> None:
    mask = np.array([[1, 1, 1], [0, 0, 1] if left else [1, 0, 0]])
    values = np.array([[1.0, 2.0, 3.0], [9.0, 9.0, 4.0] if left else [4.0, 9.0, 9.0]])
    collector = Collector(2, (Output("start", per_token=True, labels=False), Output("sure")), 1, places=True)
    where = [np.zeros((3, 3), np.int32), np.zeros((1, 3), np.int32)]
    collector.put(np.array([0, 1]), {"start": values, "sure": np.array([[0.5], [0.6]])}, mask, where)
    outputs = collector.result()
    assert [row.tolist() for row in outputs["start"]] == [[1, 2, 3], [4]]
    assert outputs["sure"].tolist() == [[0.5], pytest.approx([0.6])] and [len(row) for row in outputs["places"]] == [3, 1]


def test_places_are_characters_of_each_text() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[U]": 0, "[S]": 1, "ş": 2, "bank": 3}, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(pair="$A [S] $B", special_tokens=[("[S]", 1)])
    encoding = tokenizer.encode("ş bank", "a bank")
    texts = ("ş bank", "a bank")
    places = places_of(encoding.sequence_ids, encoding.offsets, texts)
    assert places[:, 0].tolist() == [0, 0, -1, 1, 1]
    assert [texts[text][start:stop] for text, start, stop in places[:, :3] if text >= 0] == ["ş", "bank", "a", "bank"]


@pytest.mark.parametrize("kind", ["rows", "ragged"])
def test_a_file_of_outputs_is_written_chunk_by_chunk(tmp_path, kind: str) -> None:
    whole = np.arange(12, dtype=np.float32).reshape(6, 2)
    whole = whole if kind == "rows" else ragged(whole[start : start + 1 + start % 2] for start in range(5))
    writer = OutputFile(tmp_path / "out.npy", len(whole))
    for start in range(0, len(whole), 2):
        writer.add(whole[start : start + 2])
    assert writer.close() == len(whole)
    np.testing.assert_array_equal(numbers_of(load_outputs(tmp_path / "out.npy")), numbers_of(whole))
