"""Models with replaced and shared layers: they reload bit-equal, and a broken list of changes is refused with one message."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from imbik.errors import UserError
from imbik.models.checkpoint import fingerprint, save_checkpoint
from imbik.models.facts import flops, parameters
from imbik.models.layers.compact_table import CompactEmbedding, compact_embeddings
from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.layers.low_rank import LowRankLinear
from imbik.models.pretrained import load_checkpoint
from imbik.models.structure import WEIGHTS, replace_module, structure_of, tie_module, unique_state
from imbik.models.tables import table_of
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits

QUERY = "bert.encoder.layer.{}.attention.self.query"


def changed(layers=4):
    """A model with a factorized query in layer 0, the third layer standing in place of the fourth, and a factorized table."""
    torch.manual_seed(1)
    made = tiny_bert(layers=layers)
    replace_module(made.model, QUERY.format(0), LowRankLinear(32, 32, 5))
    tie_module(made.model, f"bert.encoder.layer.{layers - 1}", f"bert.encoder.layer.{layers - 2}")
    size = made.model.config.vocab_size
    replace_module(made.model, "bert.embeddings.word_embeddings", FactorizedEmbedding(size, 32, 6, 0))
    made.model.eval()
    return made


def test_it_reloads_bit_equal_and_stores_shared_tensors_once(tmp_path):
    made = changed()
    check_reload(made, tmp_path, tiny_splits().test)
    loaded = load_checkpoint(tmp_path)
    stack = loaded.model.bert.encoder.layer
    assert stack[3] is stack[2] and isinstance(stack[0].attention.self.query, LowRankLinear)
    assert fingerprint(loaded) == fingerprint(made) != fingerprint(tiny_bert())
    stored = sum(tensor.numel() for tensor in load_file(tmp_path / WEIGHTS).values())
    assert stored == parameters(made.model) == parameters(loaded.model)


def test_plain_transformers_refuses_the_folder_rather_than_fill_it_with_random_numbers(tmp_path):
    from transformers import AutoModelForSequenceClassification

    save_checkpoint(changed(), tmp_path)
    with pytest.raises(OSError, match="no file named"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_a_plain_model_carries_nothing_of_it(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path)
    assert "imbik_structure" not in (tmp_path / "config.json").read_text()
    assert not (tmp_path / WEIGHTS).exists()


def test_a_change_overwrites_the_earlier_one_of_the_same_module():
    made = changed()
    replace_module(made.model, QUERY.format(0), LowRankLinear(32, 32, 2))
    ranks = [c["arguments"]["rank"] for c in structure_of(made.model.config) if c.get("layer") == "low_rank"]
    assert ranks == [2]
    tie_module(made.model, "bert.encoder.layer.0", "bert.encoder.layer.1")
    assert not any(c["module"].startswith("bert.encoder.layer.0.") for c in structure_of(made.model.config))


def test_a_layer_inside_a_shared_one_is_replaced_in_every_place(tmp_path):
    made = tiny_bert()
    for layer in (1, 2, 3):  # leaf by leaf: the modules around them stay apart
        tie_module(made.model, QUERY.format(layer), QUERY.format(0))
    replace_module(made.model, QUERY.format(0), LowRankLinear(32, 32, 4))
    found = {id(made.model.get_submodule(QUERY.format(layer))) for layer in range(4)}
    assert len(found) == 1
    check_reload(made, tmp_path, tiny_splits().test)


def test_copies_do_not_share_their_list():
    made = changed()
    copied = copy.deepcopy(made.model)
    tie_module(copied, "bert.encoder.layer.1", "bert.encoder.layer.0")
    assert len(structure_of(copied.config)) > len(structure_of(made.model.config)) - 1
    assert not any(c["module"] == "bert.encoder.layer.1" for c in structure_of(made.model.config))


def test_operations_are_counted_per_use_and_parameters_once():
    plain, made = tiny_bert(), tiny_bert()
    tie_module(made.model, "bert.encoder.layer.3", "bert.encoder.layer.2")
    assert parameters(made.model) < parameters(plain.model) and flops(made.model) == flops(plain.model)
    replace_module(made.model, QUERY.format(0), LowRankLinear(32, 32, 4))
    assert flops(plain.model)[1] - flops(made.model)[1] == 2 * (32 * 32 - 4 * 64)


def test_the_table_of_a_factorized_embedding_trains_by_used_rows():
    model = changed().model
    before = table_of(model).weight.detach().clone()
    with compact_embeddings(model, torch.tensor([5, 9]).numpy()):
        assert isinstance(table_of(model), CompactEmbedding)
        with torch.no_grad():
            table_of(model).weight += 1
    moved = (table_of(model).weight != before).any(dim=1).nonzero().flatten().tolist()
    assert moved == [0, 5, 9], "the padding row trains along"


def test_shared_parameters_are_named_once():
    names = list(unique_state(changed().model))
    assert not any(name.startswith("bert.encoder.layer.3.") for name in names)
    assert len(names) == len(set(names))


def test_a_changed_model_is_copied_and_not_cut():
    teacher = changed()
    assert structure_of(make_student(None, teacher, tiny_splits().train, 0).model.config) == structure_of(teacher.model.config)
    with pytest.raises(UserError, match="not cut or projected"):
        make_student("layers-2", teacher, tiny_splits().train, 0)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.__setitem__(0, "query"), "not a change of a layer"),
        (lambda c: c[0].pop("arguments"), "not a change of a layer"),
        (lambda c: c[0].__setitem__("layer", "spline"), "unknown layer.*spline"),
        (lambda c: c[0].__setitem__("module", "bert.encoder.layer.9"), "no such module"),
        (lambda c: c[0].__setitem__("module", 7), "no such module"),
        (lambda c: c[1].__setitem__("same_as", "bert.encoder.layer.9"), "no such module"),
        (lambda c: c[1].__setitem__("same_as", "bert.encoder"), "inside itself|contain itself|part of itself"),
        (lambda c: c[0]["arguments"].__setitem__("rank", 4), r"do not fit.*down\.weight float32 \(5, 32\) instead of"),
        (lambda c: c[0]["arguments"].__setitem__("rank", -4), "cannot be made from its arguments"),
        (lambda c: c[0]["arguments"].__setitem__("rank", "four"), "cannot be made from its arguments"),
        (lambda c: c[0]["arguments"].__setitem__("depth", 4), "cannot be made from its arguments"),
        (lambda c: c[0].__setitem__("arguments", [4]), "cannot be made from its arguments"),
        (lambda c: c.pop(0), "do not fit.*no bert"),
    ],
)
def test_a_broken_list_of_changes_is_one_clear_message(edit, message, tmp_path):
    save_checkpoint(changed(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    edit(config["imbik_structure"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [{"a": 1}, "low_rank"])
def test_a_list_that_is_no_list(value, tmp_path):
    save_checkpoint(changed(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["imbik_structure"] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is broken"):
        load_checkpoint(tmp_path)


def test_weights_that_are_missing_or_cut_short(tmp_path):
    save_checkpoint(changed(), tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(UserError, match="no safetensors"):
        load_checkpoint(tmp_path)
