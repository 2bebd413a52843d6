"""MobileBERT: the published shape, an IB-BERT made of a classic teacher, four transfers, three schedules, both stages."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from imbik.data.documents import open_documents
from imbik.distillation.mobilebert.bridge import block_map, sample, shape_of
from imbik.distillation.mobilebert.schedule import BlockTransfer, Weights, first_blocks
from imbik.distillation.mobilebert.start import copy_from_ib, start_head, start_ib_bert
from imbik.errors import UserError
from imbik.finetune.mlm import finetune_mlm
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_method, make_methods
from imbik.models.anatomy import anatomy, listen
from imbik.models.checkpoint import save_checkpoint
from imbik.models.teacher import Teacher
from imbik.models.units import Units, answer_in
from imbik.students.catalogue import make_student, parse_student
from imbik.students.mobilebert import PUBLISHED, MobileShape, make_ib_bert, make_mobilebert
from imbik.students.spec import Inherited
from imbik.testing.contract import quick
from imbik.testing.tiny import WORDS, logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import to_batch
from imbik.training.settings import Training

WEIGHTS = Weights(attention=1.0, hidden=100.0, mean=5000.0, variance=5.0)


def parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("activated", "count"), [(False, 24_581_888), (True, 24_844_544)])
def test_the_published_shape_has_the_published_number_of_parameters(activated, count):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("mobilebert", classifier_activation=activated))
    assert parameters(model) == count


def test_a_full_size_student_is_transformers_own_mobilebert():
    """All but the word table, which is the teacher's vocabulary (here 118 pieces of 128 numbers)."""
    student = make_student("mobilebert-24l", tiny_bert(layers=1), tiny_splits().train, 0)
    shorter = (30_522 - 118) * PUBLISHED.embedding + (512 - 64) * PUBLISHED.hidden
    assert parameters(student.model.base_model) == 24_844_544 - shorter
    assert shape_of(student.model) == PUBLISHED


@pytest.fixture(scope="module")
def world():
    """A classic teacher, a student of its size, an IB-BERT between them, and rows."""
    teacher, splits = tiny_bert(layers=3, hidden=48, heads=4), tiny_splits(rows=80)
    student = make_student("mobilebert", teacher, splits.train, 0)
    ib = make_ib_bert(Inherited.of(teacher), shape_of(student.model), 48, 96)
    data = encode(splits.train, teacher.tokenizer)
    torch.manual_seed(0)
    start_ib_bert(teacher.model, anatomy(teacher.model), ib.model, block_map(3, 3), sample(data))
    start_head(teacher.model, ib.model, sample(data))
    return teacher, student, ib, splits, data


def test_an_ib_bert_starts_near_its_classic_teacher(world):
    teacher, student, ib, splits, _ = world
    theirs = logits_of(teacher, splits.train)
    random_start = logits_of(make_ib_bert(Inherited.of(teacher), shape_of(student.model), 48, 96), splits.train)

    def alike(logits):
        return np.corrcoef((theirs - theirs.mean(0)).ravel(), (logits - logits.mean(0)).ravel())[0, 1]

    assert alike(logits_of(ib, splits.train)) > 0.5 > alike(random_start)


@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_an_ib_bert_of_a_regression_starts_at_its_teachers_units(mean):
    """The head computes standardized numbers, the model answers in the user's units: the start must be fitted to the former."""
    teacher, splits = tiny_bert(("score",), "regression", layers=3, hidden=48, heads=4), tiny_splits("regression", rows=80)
    answer_in(teacher.model, Units(mean, 20.0))
    ib = make_ib_bert(Inherited.of(teacher), shape_of(make_student("mobilebert", teacher, splits.train, 0).model), 48, 96)
    batch = sample(encode(splits.train, teacher.tokenizer))
    torch.manual_seed(0)
    start_ib_bert(teacher.model, anatomy(teacher.model), ib.model, block_map(3, 3), batch)
    start_head(teacher.model, ib.model, batch)
    theirs, ours = logits_of(teacher, splits.train), logits_of(ib, splits.train)
    assert ((ours - theirs) ** 2).mean() < theirs.var() and np.corrcoef(theirs[:, 0], ours[:, 0])[0, 1] > 0.5


def test_the_head_does_not_learn_the_few_rows_of_its_start_by_heart(world):
    """As many numbers as rows: the answers to other rows stay those of the teacher."""
    teacher, student, _, splits, data = world
    ib = make_ib_bert(Inherited.of(teacher), shape_of(student.model), 48, 96)
    few = sample(data, 24)
    torch.manual_seed(0)
    start_ib_bert(teacher.model, anatomy(teacher.model), ib.model, block_map(3, 3), few)
    start_head(teacher.model, ib.model, few)
    theirs, ours = logits_of(teacher, splits.dev), logits_of(ib, splits.dev)
    assert ((ours - theirs) ** 2).mean() < 1.25 * theirs.var(axis=0).mean()


@pytest.mark.parametrize("rows", [1, 5])
def test_a_head_starts_on_texts_that_are_all_the_same(world, rows):
    teacher, student, _, splits, data = world
    ib = make_ib_bert(Inherited.of(teacher), shape_of(student.model), 48, 96)
    start_head(teacher.model, ib.model, to_batch(data, np.zeros(rows, np.int64)))
    assert np.isfinite(logits_of(ib, splits.dev)).all()


def test_no_norm_starts_as_the_mean_of_the_layer_norm(world):
    _, student, ib, _, data = world
    copy_from_ib(ib.model, student.model, sample(data))
    with torch.no_grad():
        batch = sample(data)
        ours = student.model.base_model.embeddings(batch["input_ids"])
        theirs = ib.model.base_model.embeddings(batch["input_ids"])
    real = batch["attention_mask"].bool()
    assert torch.nn.functional.cosine_similarity(ours[real], theirs[real], dim=-1).mean() > 0.95
    assert torch.equal(student.model.classifier.weight, ib.model.classifier.weight)


def transferring(world, tmp_path, student, steps=6, match=False):
    teacher, _, ib, splits, data = world
    training = Training(learning_rate=2e-3, batch_tokens=256, max_steps=steps)
    return BlockTransfer(ib.model, student.model, data, None, WEIGHTS, match, training, tiny_context(teacher, splits, tmp_path))


def test_the_transfer_losses_equal_plain_numpy(world, tmp_path):
    teacher, _, ib, _, data = world
    student = make_mobilebert(Inherited.of(teacher), shape_of(ib.model))
    batch = sample(data, 5)
    loss = transferring(world, tmp_path, student).loss()
    value = float(loss(student.model, batch).detach())
    mask = batch["attention_mask"].bool().numpy()
    states = []
    for model in (student.model.base_model, ib.model.base_model):
        names = [f"{kind}.{i}" for i in range(3) for kind in ("hidden", "scores")]
        with torch.no_grad(), listen(model, anatomy(model), names) as found:
            model(**{k: v for k, v in batch.items() if k != "rows"})
        states.append({name: found[name].double().numpy() for name in names})
    assert value == pytest.approx(sum(_plain(states, i, mask) for i in range(3)), rel=1e-3)


def _plain(states, i, mask):
    (s, t), (a, b) = [[state[f"{kind}.{i}"] for state in states] for kind in ("hidden", "scores")]

    def normed(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def probabilities(x):
        x = np.where(mask[:, None, None, :], x, -np.inf)
        x = np.exp(x - x.max(-1, keepdims=True))
        return x / x.sum(-1, keepdims=True)

    p, q = probabilities(b), probabilities(a)
    divergence = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1)), 0).sum(-1).mean(1)[mask].mean()
    hidden = ((normed(s) - normed(t)) ** 2).mean(-1)[mask].mean()
    mean = ((s.mean(-1) - t.mean(-1)) ** 2)[mask].mean()
    variance = np.abs(s.var(-1) - t.var(-1))[mask].mean()
    return divergence + 100 * hidden + 5000 * mean + 5 * variance


def test_a_teacher_that_teaches_itself_has_nothing_to_teach(world, tmp_path):
    _, _, ib, _, data = world
    loss = transferring(world, tmp_path, ib).loss()
    assert float(loss(ib.model, sample(data)).detach()) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("match", [False, True])
def test_progressive_transfer_trains_one_block_after_the_other(world, tmp_path, monkeypatch, match):
    from imbik.distillation.mobilebert import schedule as room

    teacher = world[0]
    student = make_mobilebert(Inherited.of(teacher), shape_of(world[1].model))
    base, seen, fit = student.model.base_model, [], room.fit

    def watched(model, *arguments, **options):
        before = {name: value.clone() for name, value in base.state_dict().items()}
        blocks = len(model.encoder.layer)
        fit(model, *arguments, **options)
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        seen.append((blocks, {name.split(".layer.")[1].split(".")[0] if ".layer." in name else "embeddings" for name in changed}))

    monkeypatch.setattr(room, "fit", watched)
    transferring(world, tmp_path, student, match=match).run("progressive")
    first = {"0", "embeddings"} if match else {"0"}
    assert seen == [(1, first), (2, {"1"}), (3, {"2"})]
    assert len(base.encoder.layer) == 3 and all(p.requires_grad for p in student.model.parameters())


def test_all_blocks_come_back_even_after_an_error(world):
    base = world[1].model.base_model
    with pytest.raises(RuntimeError), first_blocks(base, 1):
        raise RuntimeError
    assert len(base.encoder.layer) == 3


def test_gradients_reach_every_parameter(world, tmp_path):
    teacher, _, ib, _, data = world
    student = make_mobilebert(Inherited.of(teacher), shape_of(ib.model))
    transferring(world, tmp_path, student, match=True).loss()(student.model, sample(data)).backward()
    head = ("pooler", "classifier")
    # the key's bias shifts all scores of a query alike, so softmax takes it out; the second token type does not occur
    assert [n for n, p in student.model.named_parameters() if p.grad is None and not any(part in n for part in head)] == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"family": "mobilebert", "bottleneck": 10, "heads": 4}, "do not divide"),
        ({"family": "mobilebert", "embedding": 4096}, "wider than the blocks"),
        ({"family": "mobilebert", "width": 3}, "unknown field"),
        ({"family": "mobilebert", "layers": 0}, "above zero"),
        ("mobilebert-7x", "unknown student"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        parse_student(spec).plan(Teacher.of(tiny_bert()))


def test_what_does_not_fit_is_refused(world, tmp_path):
    teacher, student, _, splits, _ = world

    def apply(settings, to):
        make_method(quick({"mobilebert": settings}), "test").apply(to, tiny_context(teacher, splits, tmp_path))

    with pytest.raises(UserError, match=r"no MobileBERT.*student: mobilebert"):
        apply({}, make_student("layers-2", teacher, splits.train, 0))
    save_checkpoint(make_mobilebert(Inherited.of(teacher), shape_of(student.model)), tmp_path / "fits")
    save_checkpoint(make_student({"family": "mobilebert", "layers": 2}, teacher, splits.train, 0), tmp_path / "other")
    with pytest.raises(UserError, match=r"does not fit the student.*3 blocks"):
        apply({"teacher": str(tmp_path / "other")}, student)
    with pytest.raises(UserError, match="do not divide the width inside"):
        apply({"inner": 10}, student)
    with pytest.raises(UserError, match="cannot follow one another"):
        make_methods([{"vocabulary": {}}, {"mobilebert": {}}], "test")
    apply({"teacher": str(tmp_path / "fits")}, student)


def test_the_ib_bert_is_made_once(world, tmp_path):
    teacher, _, _, splits, _ = world
    context = tiny_context(teacher, splits, tmp_path)
    stamps = set()
    for schedule in ("joint", "auxiliary"):
        student = make_student("mobilebert", teacher, splits.train, 0)
        step = quick({"mobilebert": {"schedule": schedule}})
        make_method(step, "test").apply(student, context)
        stamps |= {path.stat().st_mtime_ns for path in (context.shared / "ib-bert").glob("*/model.safetensors")}
    assert len(stamps) == 1
    assert np.isfinite(logits_of(student, splits.test)).all()


def test_the_students_head_is_fitted_to_its_own_states(tmp_path):
    """Its blocks are hardly taught here, so that the IB-BERT's own head would say anything of them."""
    teacher, splits = tiny_bert(layers=3, hidden=48, heads=4), tiny_splits(rows=200)
    student = make_student("mobilebert", teacher, splits.train, 0)
    made = make_method(quick({"mobilebert": {"schedule": "progressive"}}), "test").apply(student, tiny_context(teacher, splits, tmp_path))
    theirs, ours = logits_of(teacher, splits.test), logits_of(made, splits.test)
    assert ((ours - theirs) ** 2).mean() < 1.25 * theirs.var(axis=0).mean()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    place = tmp_path_factory.mktemp("pretrained")
    generator = random.Random(0)
    (place / "corpus.txt").write_text("\n".join(" ".join(generator.choices(WORDS[:12], k=9)) for _ in range(500)))
    save_checkpoint(tiny_bert(layers=2, hidden=48, heads=4, seed=3), place / "base")
    documents, settings = open_documents(place / "corpus.txt"), Training(epochs=2, learning_rate=3e-3, batch_tokens=512)
    finetune_mlm(place / "base", documents, place / "lm", settings=settings, encoder=True, length=32, progress=Silent(), say=lambda _: None)
    teacher = tiny_bert(layers=2, hidden=48, heads=4, seed=3)
    teacher.model.config.imbik_base = str(place / "lm")
    return place, teacher


@pytest.mark.parametrize("schedule", ["progressive", "auxiliary"])
def test_the_general_stage(pretrained, schedule, tmp_path):
    place, teacher = pretrained
    splits = tiny_splits()
    student = make_student("mobilebert", teacher, splits.train, 0)
    before = {name: value.clone() for name, value in student.model.base_model.state_dict().items()}
    step = {"stage": "general", "corpus": str(place / "corpus.txt"), "block": 32, "schedule": schedule}
    made = make_method(quick({"mobilebert": step}), "test").apply(student, tiny_context(teacher, splits, tmp_path))
    same = [name for name, value in made.model.base_model.state_dict().items() if torch.equal(value, before[name])]
    assert [name for name in same if "pooler" not in name and "position_ids" not in name] == []
    assert np.isfinite(logits_of(made, splits.test)).all()


def test_a_deeper_student_than_its_teacher():
    teacher, splits = tiny_bert(layers=2), tiny_splits()
    student = make_student({"family": "mobilebert", "layers": 3}, teacher, splits.train, 0)
    assert block_map(2, 3) == [0, 0, 1] and shape_of(student.model).layers == 3


@torch.no_grad()
def test_a_new_student_hears_its_neighbours():
    """What the first token's state says of words far from it is no rounding error, in any block and at any depth; norms start as norms."""
    teacher = tiny_bert(hidden=48, heads=4)
    student = make_mobilebert(Inherited.of(teacher), MobileShape(layers=12, hidden=32, bottleneck=16, heads=4, embedding=16)).model.eval()
    ids = torch.randint(5, len(teacher.tokenizer), (64, 12))
    ids[:, :6] = 2
    states = student(input_ids=ids, output_hidden_states=True).hidden_states
    for state in states[1:]:
        first = state[:, 0]
        assert 0.3 < float(first.std(dim=1).mean()) < 3.0
        assert float((first - first.mean(0)).norm() / first.norm()) > 0.02  # bfloat16 tells 0.004; transformers' own start gives less
    for norm in (module for module in student.modules() if type(module).__name__ == "NoNorm"):
        assert float(norm.weight[0]) > 0 and torch.equal(norm.weight, norm.weight[0].expand_as(norm.weight))
