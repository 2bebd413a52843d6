"""Folders of sentence-transformers: pooling by hand, both ways through the disk, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.jobs.workspace import MODEL_FILES
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.models.sentences.pooling import MODES, Pooling, pool_as, pooling_of
from imbik.models.teacher import Teacher
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.precision import full_precision
from imbik.training.prediction import model_inputs, predict, to_batch

TASK = "embedding"


def encoder(mode="mean", *, normalize=True, dense=None, bias=False, family="bert"):
    checkpoint = tiny_bert(tuple(map(str, range(32 if dense is None else 8))), TASK, layers=1, family=family)
    pool_as(checkpoint.model.config, Pooling(mode, normalize, dense, bias))
    if bias:
        checkpoint.model.dense = torch.nn.Linear(32, 8)
    return checkpoint


def vectors(checkpoint, texts=None):
    examples = texts or tiny_splits(TASK, rows=24, pairs=True).dev
    with full_precision():
        return predict(checkpoint.model, encode_for(TASK, examples, checkpoint.tokenizer), TASK)


@pytest.mark.parametrize("mode", MODES)
def test_vectors_are_pooled_as_by_hand(mode):
    checkpoint = encoder(mode, dense="tanh")
    data = encode_for(TASK, replace(tiny_splits(TASK, rows=24, pairs=True).dev, pairs=None), checkpoint.tokenizer)
    batch = to_batch(data, np.arange(len(data)))
    with torch.inference_mode():
        found = checkpoint.model(**model_inputs(batch)).logits.numpy()
        states = checkpoint.model.bert(**model_inputs(batch)).last_hidden_state.numpy()
    mask, weight = batch["attention_mask"].numpy(), checkpoint.model.dense.weight.detach().numpy()
    for row in range(len(data)):
        real = states[row, mask[row] == 1]
        one = {"mean": real.mean(0), "cls": real[0], "max": real.max(0)}[mode]
        wanted = np.tanh(weight @ one)
        np.testing.assert_allclose(found[row], wanted / np.linalg.norm(wanted), atol=1e-5)


CASES = [("mean", True, None, False), ("cls", False, None, False), ("max", True, "identity", False), ("mean", True, "tanh", True)]


@pytest.mark.parametrize(("mode", "normalize", "dense", "bias"), CASES)
def test_a_folder_is_one_of_sentence_transformers(mode, normalize, dense, bias, tmp_path):
    """Read by the package itself where it is installed, and by imbik as a folder that it has not made."""
    checkpoint = encoder(mode, normalize=normalize, dense=dense, bias=bias)
    save_checkpoint(checkpoint, tmp_path)
    listed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert listed <= MODEL_FILES, "a file of a model that compress would not know as its own"
    (tmp_path / "imbik.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    del config["imbik_sentence"], config["id2label"], config["label2id"]
    config["architectures"] = ["BertModel"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    stranger = load_checkpoint(tmp_path)
    assert stranger.task == TASK and pooling_of(stranger.model.config) == Pooling(mode, normalize, dense, bias)
    np.testing.assert_array_equal(vectors(stranger), vectors(checkpoint))
    package = pytest.importorskip("sentence_transformers")
    texts = list(tiny_splits(TASK, rows=24, pairs=True).dev.texts)
    theirs = package.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, vectors(checkpoint)[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["roberta", "electra", "mobilebert"])
def test_encoders_of_other_families_come_back_from_the_disk(family, tmp_path):
    checkpoint = encoder(family=family)
    save_checkpoint(checkpoint, tmp_path)
    np.testing.assert_array_equal(vectors(load_checkpoint(tmp_path)), vectors(checkpoint))


def test_a_student_of_another_width_gives_vectors_of_the_teachers():
    teacher = encoder()
    student = make_student({"layers": 1, "hidden": 16, "heads": 2}, Teacher.of(teacher), tiny_splits(TASK, rows=24).train, 0)
    assert student.model.dense.weight.shape == (32, 16) and vectors(student).shape[-1] == 32
    # the directions that it is projected on are orthogonal, and undone by the matrix
    product = student.model.dense.weight.T @ student.model.dense.weight
    torch.testing.assert_close(product, torch.eye(16), atol=1e-5, rtol=0)


def test_texts_are_cut_as_the_folder_says(tmp_path):
    save_checkpoint(encoder(), tmp_path)
    (tmp_path / "imbik.json").unlink()
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    assert load_checkpoint(tmp_path).tokenizer.model_max_length == 7


DAMAGES = {
    "lasttoken": (
        "1_Pooling/config.json",
        '{"pooling_mode": "lasttoken"}',
        "a pooling that imbik does not.*lasttoken.*mean, cls, max",
    ),
    "two": ("1_Pooling/config.json", '{"pooling_mode": ["mean", "max"]}', "mean and max"),
    "none": ("1_Pooling/config.json", "[]", "no settings of a module"),
    "lower": ("sentence_bert_config.json", '{"do_lower_case": true}', "texts are changed before they are tokenized"),
    "prompt": ("config_sentence_transformers.json", '{"default_prompt_name": "query"}', "default_prompt_name"),
    "modules": ("modules.json", '[{"path": "", "type": "a.WordEmbeddings"}, {"path": "1_Pooling", "type": "a.Pooling"}]', "WordEmbeddings"),
    "outside": ("modules.json", '[{"path": "../x", "type": "a.Transformer"}]', "leads out of its folder"),
    "gelu": ("2_Dense/config.json", '{"activation_function": "torch.nn.modules.activation.GELU"}', "a Dense module that imbik does not"),
    "weights": ("2_Dense/model.safetensors", "x", "no weights of a Dense module"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_computed_is_refused(damage, tmp_path):
    save_checkpoint(encoder(dense="tanh"), tmp_path / "whole")
    (tmp_path / "whole" / "imbik.json").unlink()
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    name, content, told = DAMAGES[damage]
    (tmp_path / "damaged" / name).write_text(content)
    config = json.loads((tmp_path / "damaged" / "config.json").read_text())
    (tmp_path / "damaged" / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(UserError, match=f"(?s){told}"):
        load_checkpoint(tmp_path / "damaged")
