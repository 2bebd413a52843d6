"""minilm and tinybert: what they pair, that the states come closer, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.distillation.teacher_states import LiveTeacher, StoredTeacher
from imbik.distillation.transfer import Transfer
from imbik.errors import UserError
from imbik.methods.registry import make_method
from imbik.models.anatomy import anatomy
from imbik.models.teacher import Teacher
from imbik.pretraining.general import general_files, open_corpus
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_method
from imbik.testing.tiny import WORDS, tiny_bert, tiny_context, tiny_splits, tiny_tokenizer
from imbik.training.encoding import encode
from imbik.training.prediction import to_batch
from imbik.types import Checkpoint

SHAPE = {"layers": 2, "hidden": 48, "heads": 3}


def made(name, **settings):
    return make_method({name: settings}, "recipe")


def loss_of(method, student, teacher, splits):
    """The method's own loss, with projections at their best, on dev."""
    pairs = method.pairs(teacher) if method.name == "minilm" else method.pairs(student, teacher)
    live = LiveTeacher(teacher.model, anatomy(teacher.model), [pair.teacher for pair in pairs])
    transfer = Transfer([p for p in pairs if p.weight], anatomy(student.model), live)
    batch = to_batch(encode(splits.dev, teacher.tokenizer), np.arange(30))
    transfer.bind(student.model, batch)
    return float(transfer(student.model, batch).detach())


@pytest.mark.parametrize("name", ["minilm", "tinybert"])
def test_training_brings_the_states_closer(name, tmp_path):
    teacher, splits = Teacher.of(tiny_bert(hidden=64, heads=4)), tiny_splits(rows=200)
    method = made(name, epochs=20, learning_rate=3e-3)
    student = make_student({**SHAPE, "init": "random"}, teacher, splits.train, 0)
    before = loss_of(method, student, teacher, splits)
    head = student.model.classifier.weight.clone()
    method.apply(student, tiny_context(teacher, splits, tmp_path))
    assert loss_of(method, student, teacher, splits) < 0.7 * before
    assert torch.equal(student.model.classifier.weight, head), "the head learns from logits alone"


def test_minilm_pairs():
    teacher = Teacher.of(tiny_bert(layers=4))
    assert [(p.student, p.teacher, p.weight) for p in made("minilm").pairs(teacher)] == [
        ("query.-1", "query.3", 1.0),
        ("key.-1", "key.3", 1.0),
        ("value.-1", "value.3", 1.0),
    ]
    pairs = made("minilm", layer=2, relations=["qq", "vv"], weights=[1, 0.5]).pairs(teacher)
    assert [(p.teacher, p.weight) for p in pairs] == [("query.1", 1.0), ("value.1", 0.5)]
    assert made("minilm").pairs(Teacher.of(tiny_bert(layers=24, hidden=8)))[0].teacher == "query.20", "21 of 24, as in the paper"


def test_tinybert_pairs():
    teacher = Teacher.of(tiny_bert(layers=4))
    student = make_student(SHAPE, teacher, tiny_splits().train, 0)
    names = [(p.student, p.teacher) for p in made("tinybert").pairs(student, teacher)]
    assert names == [
        ("embeddings", "embeddings"),
        *[("hidden.0", "hidden.1"), ("scores.0", "scores.1"), ("hidden.1", "hidden.3"), ("scores.1", "scores.3")],
    ]
    assert made("tinybert", layers=[1, 1]).pairs(student, teacher)[3].teacher == "hidden.0"
    assert made("tinybert", layers="bottom").pairs(student, teacher)[3].teacher == "hidden.1"


@pytest.mark.parametrize("family", ["roberta", "electra", "distilbert", "albert", "mpnet"])
@pytest.mark.parametrize("name", ["minilm", "tinybert"])
def test_other_architectures_teach_a_bert(family, name, tmp_path):
    teacher, splits = Teacher.of(tiny_bert(family=family, hidden=64, heads=4)), tiny_splits()
    student = make_student({**SHAPE, "init": "random"}, teacher, splits.train, 0)
    made(name, epochs=1).apply(student, tiny_context(teacher, splits, tmp_path))


def test_states_are_stored_where_they_are_read_twice_and_fit(tmp_path, monkeypatch):
    from imbik.distillation import inner_states as intermediate

    used = []
    for kind in (LiveTeacher, StoredTeacher):
        monkeypatch.setattr(kind, "states", lambda self, batch, old=kind.states: (used.append(type(self)), old(self, batch))[1])
    teacher, splits = Teacher.of(tiny_bert()), tiny_splits()

    def run(epochs, limit, name):
        used.clear()
        monkeypatch.setattr(intermediate, "STORE_LIMIT", limit)
        student = make_student("layers-2", teacher, splits.train, 0)
        made("tinybert", epochs=epochs).apply(student, tiny_context(teacher, splits, tmp_path / name))
        return set(used)

    assert run(2, 1 << 30, "a") == {StoredTeacher}
    assert run(1, 1 << 30, "b") == run(2, 10, "c") == {LiveTeacher}


def test_the_general_stage_learns_from_raw_text(tmp_path):
    generator = np.random.default_rng(0)
    lines = [" ".join(generator.choice(WORDS, 12)) for _ in range(300)]
    (tmp_path / "corpus.txt").write_text("\n".join(lines))
    base = tiny_bert(hidden=64, heads=4, seed=3)
    from imbik.models.checkpoint import save_checkpoint

    save_checkpoint(base, tmp_path / "base")
    step = {"stage": "general", "corpus": str(tmp_path / "corpus.txt"), "teacher": str(tmp_path / "base"), "block": 24}
    student = check_method({"tinybert": step}, tmp_path / "check", teacher=tiny_bert(hidden=64, heads=4))
    assert loss_of(made("tinybert"), student, Teacher.of(base), tiny_splits()) > 0


def test_the_general_stage_finds_the_base_of_the_teacher(tmp_path):
    from imbik.models.checkpoint import save_checkpoint

    (tmp_path / "corpus.txt").write_text("\n".join(" ".join(WORDS[i : i + 12]) for i in range(30)))
    base, teacher, splits = Teacher.of(tiny_bert(seed=3)), tiny_bert(), tiny_splits()
    save_checkpoint(base, tmp_path / "base")
    method = made("tinybert", stage="general", corpus=str(tmp_path / "corpus.txt"), teacher="base", block=16, epochs=12, learning_rate=3e-3)
    with pytest.raises(UserError, match="not recorded"):
        method.apply(make_student(None, teacher, splits.train, 0), tiny_context(teacher, splits, tmp_path / "a"))
    teacher.model.config.imbik_base = str(tmp_path / "base")
    student = make_student(None, teacher, splits.train, 0)
    before = loss_of(method, student, base, splits)
    method.apply(student, tiny_context(teacher, splits, tmp_path / "b"))
    assert loss_of(method, student, base, splits) < 0.9 * before


def test_the_general_stage_reads_the_tasks_own_texts_where_there_is_no_other_corpus():
    splits = tiny_splits()
    more = replace(splits.train, texts=["one more", "and another"], targets=None, fingerprint="more")
    documents = open_corpus("task", replace(splits, unlabelled=more))
    assert list(documents.stream()) == [*splits.train.texts, "one more", "and another"]
    assert list(documents.stream()) == list(documents.stream()) and documents.key == [splits.train.fingerprint, "more"]
    pairs = replace(splits.train, texts=["a", "c"], pairs=["b", "d"])
    assert list(open_corpus("task", replace(splits, train=pairs)).stream()) == ["a", "b", "c", "d"]
    # counted with the data, and not looked for as a file
    assert general_files(tiny_bert(), "", "task") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage": "general"}, "needs raw text"),
        ({"corpus": "file.txt"}, "task's texts"),
        ({"teacher": "folder"}, "task's teacher"),
        ({"stage": "general", "corpus": "x", "augment": {"masked_model": "none"}}, "as it is"),
        ({"layers": [1, 9]}, "does not fit"),
        ({"embedding_weight": 0, "attention_weight": 0, "hidden_weight": 0}, "nothing to learn"),
    ],
)
def test_tinybert_settings_that_make_no_sense_are_refused(settings, message, tmp_path):
    teacher, splits = Teacher.of(tiny_bert()), tiny_splits()
    student = make_student("layers-2", teacher, splits.train, 0)
    with pytest.raises(UserError, match=message):
        made("tinybert", **settings).apply(student, tiny_context(teacher, splits, tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"layer": 9}, "no such layer.*1 to 4"), ({"relation_heads": 5}, "do not divide"), ({"weights": [1]}, "one weight")],
)
def test_minilm_settings_that_make_no_sense_are_refused(settings, message, tmp_path):
    teacher, splits = Teacher.of(tiny_bert()), tiny_splits()
    student = make_student("layers-2", teacher, splits.train, 0)
    with pytest.raises(UserError, match=message):
        made("minilm", **settings).apply(student, tiny_context(teacher, splits, tmp_path))


def test_a_student_that_cuts_texts_otherwise_is_refused_and_one_with_other_ids_is_not(tmp_path):
    teacher, splits = Teacher.of(tiny_bert()), tiny_splits()
    student = make_student("layers-2", teacher, splits.train, 0)
    short = Checkpoint(student.model, tiny_tokenizer(max_length=5), student.task)
    with pytest.raises(UserError, match="different tokens"):
        made("minilm", epochs=1).apply(short, tiny_context(teacher, splits, tmp_path / "a"))
    longer = Checkpoint(student.model, tiny_tokenizer(max_length=40), student.task)
    made("minilm", epochs=1).apply(longer, tiny_context(teacher, replace(splits, unlabelled=splits.test), tmp_path / "b"))
