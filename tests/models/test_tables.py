"""How many positions a model reads: every architecture is asked at its limit, and one token behind it."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from imbik.models.tables import position_offset, positions_of

ROWS = 66
BEHIND = ("roberta", "ibert", "data2vec-text", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "longformer", "mpnet", "esm", "luke")
"""Architectures that begin behind the padding row, which is row 1 here: 64 positions are left."""

FROM_ZERO = ("bert", "electra", "albert", "distilbert", "mobilebert", "gpt2", "roformer", "nystromformer", "big_bird", "deberta-v2")


def model(family: str) -> PreTrainedModel:
    config = AutoConfig.for_model(
        family,
        vocab_size=118,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=ROWS,
        pad_token_id=1,
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


def answers(network: PreTrainedModel, length: int) -> bool:
    ids = torch.full((1, length), 5)
    ids[0, 0] = 2
    try:
        with torch.no_grad():
            network(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("family", [*BEHIND, *FROM_ZERO])
def test_the_longest_row_is_read_and_one_token_more_is_not(family: str) -> None:
    network = model(family)
    longest = ROWS - 2 if family in BEHIND else ROWS
    assert positions_of(network) == positions_of(network.config) == longest
    assert position_offset(network) == position_offset(network.config) == (2 if family in BEHIND else 0)
    assert answers(network, longest) and not answers(network, longest + 1)


def test_a_model_without_a_table_of_positions_is_bounded_by_what_it_states() -> None:
    xlnet = AutoConfig.for_model("xlnet", vocab_size=118, d_model=32, n_layer=1, n_head=2, d_inner=64)
    assert xlnet.max_position_embeddings == -1 and positions_of(xlnet) == 10**9
    modern = AutoConfig.for_model("modernbert", vocab_size=118, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0)
    assert positions_of(modern) == modern.max_position_embeddings
