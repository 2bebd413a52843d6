"""DistilBERT: the published shape, an exact start, three losses, both stages."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from imbik.data.documents import open_documents
from imbik.errors import UserError
from imbik.finetune.mlm import finetune_mlm
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.models.teacher import Teacher
from imbik.pretraining.general import Predictions, add_mlm_head
from imbik.pretraining.masking import IGNORED
from imbik.students.catalogue import make_student, parse_student
from imbik.students.distilbert import SOURCES, alternate_layers
from imbik.testing.contract import check_method
from imbik.testing.tiny import WORDS, logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.training.settings import Training


def test_the_published_shape_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("distilbert"))
    assert sum(p.numel() for p in model.parameters()) == 66_362_880
    assert alternate_layers(12, 6) == [0, 2, 4, 7, 9, 11]


def test_a_full_size_student_is_transformers_own_distilbert():
    with torch.device("meta"):
        published = AutoModel.from_config(AutoConfig.for_model("distilbert"))
    student = make_student({"family": "distilbert", "init": "random"}, _bert_base(), tiny_splits().train, 0)
    ours = student.model.base_model.state_dict()
    theirs = published.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    assert sum(value.numel() for value in ours.values()) == 66_362_880


def _bert_base():
    from transformers import AutoModelForSequenceClassification

    from imbik.models.checkpoint import set_labels
    from imbik.testing.tiny import tiny_tokenizer
    from imbik.types import Checkpoint

    config = AutoConfig.for_model("bert")
    set_labels(config, "classification", ("a", "b"))
    with torch.device("meta"):
        return Checkpoint(AutoModelForSequenceClassification.from_config(config), tiny_tokenizer(), "classification")


@pytest.mark.parametrize("family", [f for f in SOURCES if f != "distilbert"])
def test_with_all_layers_the_student_computes_what_the_teacher_computes(family):
    teacher, splits = tiny_bert(family=family, hidden=128), tiny_splits()  # ELECTRA's embeddings are 128 wide
    student = make_student("distilbert-4l", teacher, splits.train, 0)
    ids = torch.randint(5, 100, (3, 9))
    with torch.no_grad():
        ours = student.model.base_model(input_ids=ids).last_hidden_state
        theirs = teacher.model.base_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert "token_type_ids" not in student.tokenizer(["pay now"]) and student.model.config.model_type == "distilbert"


def test_the_head_starts_like_the_teachers_where_tanh_is_straight():
    teacher, splits = tiny_bert(), tiny_splits()
    with torch.no_grad():
        teacher.model.bert.pooler.dense.weight.mul_(0.02)
    student = make_student("distilbert-4l", teacher, splits.train, 0)
    ids = torch.randint(5, 100, (20, 9))
    with torch.no_grad():
        ours, theirs = student.model(input_ids=ids).logits, teacher.model(input_ids=ids).logits
    assert theirs.std() > 5e-3
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_half_of_the_layers_unless_it_is_said_otherwise():
    teacher, splits = tiny_bert(layers=6), tiny_splits()
    assert make_student("distilbert", teacher, splits.train, 0).model.config.n_layers == 3
    student = make_student({"family": "distilbert", "layers": 2}, teacher, splits.train, 0)
    first = teacher.model.bert.encoder.layer[0].intermediate.dense.weight
    last = teacher.model.bert.encoder.layer[5].output.dense.weight
    assert torch.equal(student.model.distilbert.transformer.layer[0].ffn.lin1.weight, first)
    assert torch.equal(student.model.distilbert.transformer.layer[1].ffn.lin2.weight, last)


@pytest.mark.parametrize(
    ("spec", "family", "message"),
    [
        ("distilbert-9l", "bert", "more layers"),
        ({"family": "distilbert", "hidden": 16}, "bert", "teacher's width"),
        ({"family": "distilbert", "layers": 0}, "bert", "above zero"),
        ("distilbert", "albert", "cannot start from this architecture"),
        ("distilbert", "mpnet", "cannot start from this architecture"),
        ("distilbert", "electra", "embeddings narrower than its layers"),
    ],
)
def test_students_that_cannot_be_made_are_refused_before_training(spec, family, message):
    with pytest.raises(UserError, match=message):
        parse_student(spec).plan(Teacher.of(tiny_bert(family=family)))


def test_a_random_start_needs_no_fitting_layers():
    student = make_student({"family": "distilbert", "layers": 2, "init": "random"}, tiny_bert(family="mpnet"), tiny_splits().train, 0)
    assert logits_of(student, tiny_splits().test).shape[1] == 3


def test_the_three_losses_equal_plain_numpy():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(size=(2, 6, 11)).astype(np.float32)
    labels = np.array([3, IGNORED, 1, IGNORED, IGNORED, 10])
    said = Predictions(torch.from_numpy(ours), torch.from_numpy(theirs), torch.from_numpy(labels))

    def log_softmax(z):
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    p, q = log_softmax(theirs / 2), log_softmax(ours / 2)
    assert float(said.soft(2.0)) == pytest.approx(4 * (np.exp(p) * (p - q)).sum(1).mean(), rel=1e-5)
    masked = labels != IGNORED
    assert float(said.hard()) == pytest.approx(-log_softmax(ours)[masked, labels[masked]].mean(), rel=1e-5)
    same = Predictions(said.teacher, said.teacher, said.labels)
    assert float(same.soft(2.0)) == pytest.approx(0.0, abs=1e-6)


def test_the_task_losses_are_the_weighted_sum(tmp_path):
    from imbik.distillation.feature_losses import HiddenCosine
    from imbik.distillation.soft_labels import SoftLabels
    from imbik.distillation.teacher_states import LiveTeacher
    from imbik.methods.distilbert import TaskTriple
    from imbik.models.anatomy import anatomy
    from imbik.training.losses import distillation_loss, label_loss
    from imbik.training.prediction import RowTargets, to_batch

    teacher, splits = tiny_bert(), tiny_splits()
    student = make_student("distilbert-2l", teacher, splits.train, 0)
    context = tiny_context(teacher, splits, tmp_path)
    step = make_method({"distilbert": {"soft": 0.7, "hard": 0.2, "cosine": 3.0}}, "test")
    data, rows = encode(splits.train, student.tokenizer), np.arange(10)
    targets = RowTargets.of(splits, splits.train, data)
    labels = SoftLabels("classification", context.cache.logits(splits.train, Silent()), targets, 2.0, 0.2)
    states = LiveTeacher(teacher.model, anatomy(teacher.model), ["hidden.-1"], encode(splits.train, teacher.tokenizer))
    batch = to_batch(data, rows)
    with torch.no_grad():
        loss = float(TaskTriple(student.model, labels, states, step)(student.model, batch))
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        ours = student.model(**inputs, output_hidden_states=True)
        theirs = teacher.model(**inputs, output_hidden_states=True)
        cosine = HiddenCosine()(ours.hidden_states[-1], theirs.hidden_states[-1], batch["attention_mask"].bool())
        parts = (
            distillation_loss("classification", ours.logits, theirs.logits, 2.0),
            label_loss("classification", ours.logits, torch.from_numpy(splits.train.targets[:10])),
        )
    assert loss == pytest.approx(0.7 * float(parts[0]) + 0.2 * float(parts[1]) + 3.0 * float(cosine), rel=2e-2)


def test_the_contract_and_other_students(tmp_path):
    check_method({"distilbert": {"soft": 1.0, "hard": 0.0}}, tmp_path / "a")
    check_method({"distilbert": {"cosine": 0.0}}, tmp_path / "b")


def test_a_narrower_student_gets_a_projection_and_gradients_reach_every_parameter(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    student = make_student({"layers": 2, "hidden": 16, "heads": 2}, teacher, splits.train, 0)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    make_method({"distilbert": {"epochs": 1}}, "test").apply(student, tiny_context(teacher, splits, tmp_path))
    table = "embeddings.word_embeddings.weight"
    stuck = [
        name
        for name, value in student.model.state_dict().items()
        if torch.equal(value, before[name]) and "position" not in name and "token_type" not in name and not name.endswith(table)
    ]
    assert stuck == []


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A tiny masked language model, its corpus, and a classifier that records it as its base."""
    place = tmp_path_factory.mktemp("pretrained")
    generator = random.Random(0)
    (place / "corpus.txt").write_text("\n".join(" ".join(generator.choices(WORDS[:12], k=9)) for _ in range(800)))
    save_checkpoint(tiny_bert(hidden=64, heads=4, seed=3), place / "base")
    settings = Training(epochs=4, learning_rate=3e-3, batch_tokens=512)
    documents = open_documents(place / "corpus.txt")
    finetune_mlm(place / "base", documents, place / "lm", settings=settings, encoder=True, length=32, progress=Silent(), say=lambda _: None)
    teacher = tiny_bert(hidden=64, heads=4, seed=3)
    teacher.model.config.imbik_base = str(place / "lm")
    return place, teacher


@pytest.mark.parametrize("settings", [{}, {"everywhere": True, "accumulate": 2}, {"start": "keep", "whole_words": True}])
def test_the_general_stage_learns_the_pretrained_models_predictions(settings, pretrained, tmp_path):
    place, teacher = pretrained
    splits = tiny_splits()
    student = make_student("distilbert-2l", teacher, splits.train, 0)
    head = student.model.pre_classifier.weight.clone()
    encoder = {name: value.clone() for name, value in student.model.base_model.state_dict().items()}
    step = {"stage": "general", "corpus": str(place / "corpus.txt"), "block": 32, "epochs": 3, "learning_rate": 2e-3, **settings}
    context = tiny_context(teacher, splits, tmp_path)
    made = make_method({"distilbert": step}, "test").apply(student, context)
    assert made.model.config.model_type == "distilbert" and torch.equal(made.model.pre_classifier.weight, head)
    changed = [name for name, value in made.model.base_model.state_dict().items() if not torch.equal(value, encoder[name])]
    assert len(changed) >= len(encoder) - 1
    assert list((context.shared / "corpus").iterdir()), "the corpus stays for the next recipe"
    save_checkpoint(made, tmp_path / "saved")
    assert logits_of(made, splits.test).shape == (30, 3)


def test_the_general_stage_refuses_what_it_cannot_use(pretrained, tmp_path):
    place, teacher = pretrained
    splits, general = tiny_splits(), {"stage": "general", "corpus": str(place / "corpus.txt"), "block": 32}
    student = make_student("distilbert-2l", teacher, splits.train, 0)

    def apply(settings, to=student, of=teacher):
        make_method({"distilbert": settings}, "test").apply(to, tiny_context(of, splits, tmp_path))

    with pytest.raises(UserError, match="needs raw text"):
        apply({"stage": "general"})
    with pytest.raises(UserError, match=r"no masked-language-model head.*--task mlm"):
        apply({**general, "teacher": str(place / "base")})
    with pytest.raises(UserError, match="not recorded"):
        apply(general, of=tiny_bert(hidden=64, heads=4))
    with pytest.raises(UserError, match=r"cannot start from the general teacher's layers.*start: keep"):
        apply(general, to=make_student("layers-2", teacher, splits.train, 0))
    with pytest.raises(UserError, match="cannot be read"):
        apply({**general, "block": 500})
    with pytest.raises(UserError, match="nothing to learn"):
        apply({"soft": 0, "hard": 0, "cosine": 0})
    with pytest.raises(UserError, match="task's texts"):
        apply({"corpus": "x.txt"})


def test_a_student_with_an_mlm_head_is_the_same_encoder():
    student = make_student("distilbert-2l", tiny_bert(), tiny_splits().train, 0)
    twin = add_mlm_head(student.model)
    assert twin.base_model is student.model.base_model
    assert twin.get_output_embeddings().weight is student.model.get_input_embeddings().weight
