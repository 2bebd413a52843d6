"""Training, artefacts and single requests read the same tokens, whatever the tokenizer's folder says."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from imbik.data.windows import cut
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.testing.tiny import tiny_tokenizer
from imbik.training.encoding import encode
from imbik.types import Examples

LONG = "good " + "card money bank " * 20 + "bad"
TEXTS = ["my card", LONG, "", "x" * 300, "why is the fee so late", "\ud800 odd"]


def tokenizer(side: str, special: bool = True):
    made = tiny_tokenizer(16)
    made.truncation_side = side
    if not special:
        made.backend_tokenizer.post_processor = None  # type: ignore[assignment]
    return made


def test_a_text_is_cut_on_the_side_that_the_tokenizer_names() -> None:
    """[CLS] and [SEP] stay, and of 62 words the first or the last 14."""
    made, words = tokenizer("left"), LONG.split()
    left, right = (encode(Examples([LONG], None, None, ""), tokenizer(side)).row(0) for side in ("left", "right"))
    assert made.convert_ids_to_tokens(left) == ["[CLS]", *words[-14:], "[SEP]"]
    assert made.convert_ids_to_tokens(right) == ["[CLS]", *words[:14], "[SEP]"]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("special", [True, False])
def test_training_and_the_runtime_read_the_same_ids(side: str, special: bool) -> None:
    made = tokenizer(side, special)
    encoded = encode(Examples(TEXTS, None, None, ""), made)
    runtime = RuntimeTokenizer(Tokenizer.from_str(made.backend_tokenizer.to_str()), 16, side)
    for _ in range(2):  # the second time words are remembered
        assert [ids or [0] for ids in runtime.ids(TEXTS)] == [encoded.row(row) for row in range(len(TEXTS))]
    assert [runtime.ids([text])[0] or [0] for text in TEXTS] == [encoded.row(row) for row in range(len(TEXTS))]
    pairs = encode(Examples(TEXTS, TEXTS[::-1], None, ""), made)
    rows = runtime.encodings(list(zip(TEXTS, TEXTS[::-1], strict=True)), range(len(TEXTS)))
    assert [row.ids for row in rows] == [pairs.row(row) for row in range(len(TEXTS))]


def test_a_text_without_tokens_is_one_token_and_keeps_the_others_in_place() -> None:
    encoded = encode(Examples(["", "my card", ""], None, None, ""), tokenizer("right", special=False), places=True)
    batch = encoded.batch(np.arange(3))
    ids = tiny_tokenizer().convert_tokens_to_ids(["my", "card"])
    assert batch["input_ids"].tolist() == [[0, 0], ids, [0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1], [1, 0]] and batch["token_type_ids"].tolist() == [[0, 0]] * 3
    assert encoded.places(0)[:, :3].tolist() == [[-1, 0, 0]] and encoded.places(1)[:, :3].tolist() == [[0, 0, 2], [0, 3, 7]]


def test_pairs_need_room_for_a_token_of_each() -> None:
    made = tiny_tokenizer(4)
    cut(made.backend_tokenizer, 4, "right", 0.0, paired=False)
    with pytest.raises(Exception, match="pairs of texts cannot be cut to so few tokens"):
        encode(Examples(["my card"], ["my bank"], None, ""), made)
