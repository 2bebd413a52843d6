"""Sharing: the ALBERT conversion computes what the shared BERT computes, loads without imbik, is stored and trained once."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.methods.registry import make_method
from imbik.models.blocks import layer_stack
from imbik.models.checkpoint import save_checkpoint
from imbik.models.facts import parameters
from imbik.runtime.predictor import load_artefact
from imbik.sharing.albert import to_albert
from imbik.testing.contract import check_reload
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits

INT8 = ({"quantize": {"scheme": "dynamic"}},)
TEXTS = ["where is my card", "bad", "the new fee is not good", "please help me pay now", "", "not 7 but 8"] * 4


def _share(checkpoint, directory, **settings):
    return make_method({"share": settings}, "test").apply(checkpoint, tiny_context(tiny_bert(), tiny_splits(checkpoint.task), directory))


@torch.no_grad()
def _exact(checkpoint, examples):
    """Logits in float32: :func:`imbik.testing.tiny.logits_of` computes as training does, in bf16 where the processor has it."""
    batch = checkpoint.tokenizer(list(examples.texts), padding=True, truncation=True, return_tensors="pt")
    return checkpoint.model(**batch).logits.numpy()


def _shared_bert(groups, place):
    """The reference: a BERT whose layers are set to their group's layer (or mean), in plain loops."""
    reference = copy.deepcopy(tiny_bert())
    stack = layer_stack(reference.model)[1]
    states = [{n: t.clone() for n, t in layer.state_dict().items()} for layer in stack]
    for index, layer in enumerate(stack):
        members = [i for i in range(4) if int(i / (4 / groups)) == int(index / (4 / groups))]
        if place is None:
            layer.load_state_dict({n: sum(states[i][n] for i in members) / len(members) for n in states[0]})
        else:
            layer.load_state_dict(states[members[place]])
    return reference


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize(("init", "place"), [("first", 0), ("mean", None)])
def test_albert_computes_what_the_shared_bert_computes(groups, init, place, tmp_path):
    made = _share(tiny_bert(), tmp_path, groups=groups, init=init)
    assert made.model.config.model_type == "albert" and made.model.config.num_hidden_groups == groups
    test = tiny_splits().test
    np.testing.assert_allclose(_exact(made, test), _exact(_shared_bert(groups, place), test), rtol=1e-4, atol=1e-4)
    check_reload(made, tmp_path / "saved", test)


@pytest.mark.parametrize("what", ["attention", "ffn"])
def test_a_part_of_the_layers_is_shared_in_place(what, tmp_path):
    made = _share(tiny_bert(), tmp_path, groups=2, what=what, init="first")
    stack = layer_stack(made.model)[1]
    assert made.model.config.model_type == "bert"
    assert (stack[1].attention is stack[0].attention) is (what == "attention") and stack[2].attention is not stack[0].attention
    assert (stack[1].output is stack[0].output) is (what == "ffn")
    reference, plain = tiny_bert(), layer_stack(tiny_bert().model)[1]
    for index, layer in enumerate(layer_stack(reference.model)[1]):
        state = plain[index].state_dict()
        chosen = ("attention",) if what == "attention" else ("intermediate", "output")
        state |= {n: t for n, t in plain[index // 2 * 2].state_dict().items() if n.split(".")[0] in chosen}
        layer.load_state_dict(state)
    np.testing.assert_array_equal(logits_of(made, tiny_splits().test), logits_of(reference, tiny_splits().test))
    check_reload(made, tmp_path / "saved", tiny_splits().test)


@pytest.mark.parametrize("family", ["roberta", "electra", "distilbert", "mpnet", "camembert"])
def test_other_families_share_whole_layers_in_place(family, tmp_path):
    teacher = tiny_bert(family=family)
    context = tiny_context(teacher, tiny_splits(), tmp_path)
    before = parameters(teacher.model)
    layer = sum(p.numel() for p in layer_stack(teacher.model)[1][0].parameters())
    made = make_method({"share": {"groups": 2, "init": "best"}}, "test").apply(teacher, context)
    assert type(made.model) is type(teacher.model) and parameters(made.model) == before - 2 * layer
    check_reload(made, tmp_path / "saved", tiny_splits().test)


def test_tied_layers_train_export_and_shrink(tmp_path):
    made = _share(tiny_bert(hidden=64), tmp_path / "a", groups=1, what="ffn", init="mean")
    trained = make_method({"distill": {"epochs": 2}}, "test").apply(made, tiny_context(tiny_bert(), tiny_splits(), tmp_path / "b"))
    stack = layer_stack(trained.model)[1]
    assert all(torch.equal(stack[0].output.dense.weight, layer.output.dense.weight) for layer in stack)
    check_reload(trained, tmp_path / "saved", tiny_splits().test)
    artefact = export(replace(trained, steps=INT8), "onnx", tmp_path / "x", texts=TEXTS)
    twin = export(replace(tiny_bert(hidden=64), steps=INT8), "onnx", tmp_path / "y", texts=TEXTS)
    assert artefact.parity["float_matmuls"] == 0 and artefact.parity["int8_ops"] == twin.parity["int8_ops"]
    assert artefact.files["model.onnx"] < 0.75 * twin.files["model.onnx"]


def test_as_many_groups_as_layers_change_nothing(tmp_path):
    before = tiny_bert()
    made = _share(before, tmp_path, groups=4)
    assert made is before


def test_the_best_start_is_the_one_nearest_to_the_teacher(tmp_path):
    from imbik.training.losses import distillation_loss

    teacher, splits = tiny_bert(), tiny_splits()
    wanted = torch.from_numpy(logits_of(teacher, splits.dev))

    def distance(place):
        return float(distillation_loss("classification", torch.from_numpy(logits_of(_shared_bert(1, place), splits.dev)), wanted))

    made = _share(tiny_bert(), tmp_path, groups=1, init="best")
    reached = float(distillation_loss("classification", torch.from_numpy(logits_of(made, splits.dev)), wanted))
    assert reached == pytest.approx(min(distance(place) for place in (None, 0, 1, 2, 3)), rel=1e-3)


def test_factorized_tables_of_full_width_lose_nothing():
    bert, splits = tiny_bert(), tiny_splits()
    layers = [layer.state_dict() for layer in layer_stack(bert.model)[1]]
    from imbik.sharing.albert import factorized_embeddings

    albert = to_albert(bert, layers, 32, splits.train)
    np.testing.assert_allclose(_exact(replace(bert, model=albert), splits.test), _exact(bert, splits.test), rtol=1e-4, atol=1e-4)
    albert.load_state_dict(factorized_embeddings(bert, 32, splits.train), strict=False)
    np.testing.assert_allclose(_exact(replace(bert, model=albert), splits.test), _exact(bert, splits.test), rtol=2e-3, atol=2e-3)


def test_a_wider_factorization_is_nearer(tmp_path):
    bert, splits = tiny_bert(), tiny_splits()
    layers = [layer.state_dict() for layer in layer_stack(bert.model)[1]]
    wanted = _exact(bert, splits.test)
    errors = []
    for width in (4, 16, 31):
        model = to_albert(bert, layers, width, splits.train)
        assert model.config.embedding_size == width and model.albert.embeddings.word_embeddings.weight.shape[1] == width
        errors.append(float(np.abs(_exact(replace(bert, model=model), splits.test) - wanted).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_tables_alone_are_factorized_when_nothing_is_shared(tmp_path):
    made = _share(tiny_bert(), tmp_path, groups=0, embedding=31)
    assert made.model.config.num_hidden_groups == 4 and made.model.config.embedding_size == 31
    assert _share(tiny_bert(), tmp_path, groups=0).model.config.model_type == "bert"
    test = tiny_splits().test
    wanted = _exact(tiny_bert(), test)
    assert np.abs(_exact(made, test) - wanted).mean() < 0.2 * np.abs(wanted).mean()


def test_an_albert_folder_needs_no_imbik(tmp_path):
    made = _share(tiny_bert(), tmp_path, groups=1, init="mean", embedding=16)
    save_checkpoint(made, tmp_path / "model")
    code = (
        "import sys, json; sys.modules['imbik'] = None\n"
        "from transformers import AutoModelForSequenceClassification as M, AutoTokenizer as T\n"
        "m, t = M.from_pretrained('model').eval(), T.from_pretrained('model')\n"
        "print(json.dumps([type(m).__name__, m(**t(['the new fee is not good'], return_tensors='pt')).logits.tolist()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    name, logits = json.loads(done.stdout.strip().splitlines()[-1])
    with torch.no_grad():
        ours = made.model(**made.tokenizer(["the new fee is not good"], return_tensors="pt")).logits.numpy()
    assert name == "AlbertForSequenceClassification"
    np.testing.assert_allclose(logits, ours, rtol=1e-5, atol=1e-5)


def test_shared_weights_are_counted_stored_and_trained_once(tmp_path):
    bert = tiny_bert()
    layer = sum(p.numel() for p in layer_stack(bert.model)[1][0].parameters())
    before = parameters(bert.model)
    made = _share(bert, tmp_path, groups=1)
    assert parameters(made.model) == before - 3 * layer + 32 * 32 + 32
    save_checkpoint(made, tmp_path / "model")
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as file:
        assert sum(file.get_tensor(name).numel() for name in file.keys()) == parameters(made.model)  # noqa: SIM118
    from imbik.training.loop import _parameters

    named = _parameters(made.model, torch.nn.Module())
    names, found = list(named), list(named.values())
    assert len({id(p) for p in found}) == len(found) == len(names) and sum(p.numel() for p in found) == parameters(made.model)


def test_int8_sees_through_sharing(tmp_path):
    one = replace(_share(tiny_bert(hidden=64), tmp_path, groups=1, init="mean"), steps=INT8)
    twin = replace(tiny_bert(hidden=64), steps=INT8)
    shared = export(one, "onnx", tmp_path / "a", texts=TEXTS)
    unshared = export(twin, "onnx", tmp_path / "b", texts=TEXTS)
    assert shared.parity["float_matmuls"] == 0 and shared.parity["int8_ops"] == unshared.parity["int8_ops"] + 1
    assert shared.files["model.onnx"] < 0.6 * unshared.files["model.onnx"]
    assert np.isfinite(load_artefact(shared.path, threads=1).scores(TEXTS)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 5}, "more groups than layers"),
        ({"groups": -1}, "wrong setting"),
        ({"what": "heads"}, "wrong setting"),
        ({"embedding": 64}, "no such width"),
        ({"embedding": 16, "what": "ffn"}, "plain BERT"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message, tmp_path):
    with pytest.raises(UserError, match=message):
        _share(tiny_bert(), tmp_path, **settings)


def test_an_albert_is_refused(tmp_path):
    with pytest.raises(UserError, match="share their weights already"):
        _share(tiny_bert(family="albert"), tmp_path)
