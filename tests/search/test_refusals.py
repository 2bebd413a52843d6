"""What a search refuses before it works, and what it says of files that are damaged or of others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from made_up_costs import true_cost

from imbik.errors import UserError
from imbik.jobs.lines import append_line, read_lines
from imbik.jobs.progress import Silent
from imbik.machine import physical_cores
from imbik.models.teacher import Teacher
from imbik.pruning.table import CostFile
from imbik.search import costs, study
from imbik.search import recipes as making
from imbik.search.levers import Levers, layers_of
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.search.sampling import ask
from imbik.search.sandwich import Sandwich
from imbik.search.space import Space
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.testing.tiny_images import tiny_image_model

QUICK = {"levers": "architecture", "supernet": Sandwich(epochs=1, batch_tokens=512), "vocabulary": False, "threads": 1,
         "evaluations": 3, "make": False}  # fmt: skip


def run(directory, teacher=None, splits=None, say=lambda line: None, **options):
    teacher, splits = teacher or tiny_bert(layers=2), splits or tiny_splits()
    return search(teacher, splits, directory, SearchOptions(**QUICK | options), progress=Silent(), say=say)


@pytest.fixture
def untrained(monkeypatch):
    """Nothing may be trained."""
    monkeypatch.setattr(study, "train_supernet", lambda *arguments: pytest.fail("trained before it was refused"))
    monkeypatch.setattr(making, "compress", lambda *arguments, **options: pytest.fail("made before it was refused"))


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("name", ["best.yaml", "best.json", "search.html", "costs.json", "run/results.json", "run/best/mine.txt"])
def test_files_of_the_user_stay(name, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"name": "best", "mine": 1}\n')
    with pytest.raises(UserError):
        run(tmp_path)
    assert file.read_text() == '{"name": "best", "mine": 1}\n'


@pytest.mark.usefixtures("quick_table")
def test_its_own_files_are_replaced(tmp_path):
    first = run(tmp_path)
    assert run(tmp_path).best == first.best


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("levers", ["architecture", "settings"])
def test_pairs_and_single_texts_are_told_apart(levers, tmp_path):
    with pytest.raises(UserError, match="pairs of texts"):
        run(tmp_path, replace(tiny_bert(layers=2), pairs=True), levers=levers)
    with pytest.raises(UserError, match="single texts"):
        run(tmp_path, replace(tiny_bert(layers=2), pairs=False), tiny_splits(pairs=True), levers=levers)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("levers", ["architecture", "all"])
def test_architectures_of_networks_of_images_are_refused(levers, tmp_path):
    splits = tiny_splits("image-classification")
    with pytest.raises(UserError, match="models of texts") as caught:
        run(tmp_path, tiny_image_model("vit", labels=splits.labels), splits, levers=levers, sampler="random", vocabulary=True)
    assert "--levers settings" in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["vit", "resnet", "convnext"])
def test_recipes_for_networks_of_images_can_be_chosen(family):
    splits = tiny_splits("image-classification")
    teacher = Teacher.of(tiny_image_model(family, labels=splits.labels))
    levers = Levers(teacher, splits, layers_of(teacher), {"target_steps": 100}, 0)
    assert levers.kinds == ("layers",) and levers.starts()
    assert all(levers.document(ask("random", levers, [], (place,)))["steps"] for place in range(20))


def one_answer():
    teacher = tiny_bert(layers=2)
    with torch.no_grad():
        teacher.model.classifier.weight.zero_()
        teacher.model.classifier.bias.copy_(torch.tensor([5.0, *[0.0] * (len(teacher.model.classifier.bias) - 1)]))
    return teacher


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("levers", ["architecture", "settings"])
def test_a_teacher_of_which_nothing_can_be_kept_is_refused(levers, tmp_path):
    with pytest.raises(UserError, match="not above 0"):
        run(tmp_path, one_answer(), replace(tiny_splits(), metric="mcc"), levers=levers, sampler="random")


def entries_of(directory):
    return next(directory.rglob("evaluations.jsonl"))


@pytest.mark.usefixtures("quick_table")
def test_damaged_logs_are_told_with_their_line(tmp_path):
    run(tmp_path)
    log = entries_of(tmp_path)
    whole = log.read_text()
    for bad in ("hello", "", "[1]", "3", '{"a": 1}', '{"decisions": [9, 9, 9, 9], "retention": 0.5}',
                '{"decisions": [0, 0], "retention": 1}',
                '{"decisions": [0, 0, 0, 0], "retention": NaN}', '{"decisions": "ab", "retention": "x"}', "\ud800",
                '{"decisions": [-1, -1, -1, -1], "retention": 0.5}', '{"decisions": [0, -1, 0, 0], "retention": 0.5}'):  # fmt: skip
        log.write_bytes((whole + bad + "\n").encode("utf-8", "surrogatepass"))
        with pytest.raises(UserError, match="damaged entry") as caught:
            run(tmp_path)
        assert caught.value.where == f"{log}, line {whole.count(chr(10)) + 1}", bad
    log.write_text(whole + '{"decisions": [0, ')
    assert run(tmp_path).finished and log.read_text() == whole


def test_damaged_logs_of_recipes_are_told_too(tmp_path):
    document = {"name": "a", "steps": []}
    number = {"engine": "onnx", "retention": 0.9, "ms": 1.0, "bytes": 10, "batch_ms": 0.5}
    good = {"key": making._key(document), "document": document, "choices": None, "measured": [number]}
    assert making._checked(good) == good
    failed = {**good, "measured": [], "error": "no room"}
    assert making._checked(failed) == failed
    for bad in ({**good, "key": "0"}, {**good, "measured": []}, {**good, "document": []}, {**good, "choices": [1]},
                *({**good, "measured": [{**number, name: value}]} for name, value in
                  (("ms", 0.0), ("ms", float("nan")), ("bytes", "x"), ("retention", float("inf")), ("engine", 1)))):  # fmt: skip
        file = tmp_path / "log.jsonl"
        file.write_text("")
        append_line(file, good)
        append_line(file, bad)
        with pytest.raises(UserError, match="damaged entry") as caught:
            read_lines(file, making._checked)
        assert caught.value.where == f"{file}, line 2"


def test_a_line_ends_where_it_ends(tmp_path):
    file = tmp_path / "log.jsonl"
    append_line(file, {"error": "one\u2028two\x85\x0b\x0c"})
    append_line(file, {"error": "b"})
    assert [entry["error"] for entry in read_lines(file, dict)] == ["one\u2028two\x85\x0b\x0c", "b"]


def test_the_space_knows_its_own():
    space = Space(2, (1, 2), (8,), fixed=(0,))
    assert space.checked([0, 0, -1, -1]) == (0, 0, -1, -1)
    for other in ([-1, -1, 0, 0], [0, 0], [0, 1, 0, 0], [True, 0, 0, 0], [0, 0, 0, -1], [0.0, 0, 0, 0]):
        with pytest.raises(ValueError, match="no architecture"):
            space.checked(other)


@pytest.fixture
def counted(monkeypatch):
    """Threads of each time that a table was measured."""
    found = []

    def measured(supernet, chosen, texts, folder, threads, progress):
        found.append(threads)
        return [true_cost(one) for one in chosen]

    monkeypatch.setattr(costs, "measured", measured)
    return found


def test_a_table_of_other_threads_or_another_machine_is_measured_again(tmp_path, counted):
    said = []
    for threads in (1, 1, 8):
        run(tmp_path, threads=threads, say=said.append)
    assert counted == [1, 8] and json.loads((tmp_path / "costs.json").read_text())["threads"] == 8
    assert sum("measured again" in line for line in said) == 1
    kept = next((tmp_path / ".imbik").rglob("costs.json"))
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps(told | {"machine": {**told["machine"], "cpu": "another"}}))
    run(tmp_path, threads=8, say=said.append)
    assert counted == [1, 8, 8] and sum("measured again" in line for line in said) == 2


def test_without_threads_the_physical_cores_count_for_table_and_recipes(tmp_path, counted):
    run(tmp_path, threads=None)
    assert counted == [physical_cores()]


@pytest.mark.parametrize("change", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_table_whose_models_cost_nothing_is_refused(change, tmp_path, quick_table, untrained, monkeypatch):
    file = table_in(tmp_path, monkeypatch)
    told = json.loads(file.read_text())
    told["table"]["terms"] = {name: [change, *values[1:]] for name, values in told["table"]["terms"].items()}
    file.write_text(json.dumps(told))
    with pytest.raises(UserError, match="gives a model no cost"):
        run(tmp_path / "other", table=file)


def test_a_table_of_another_shape_is_refused_before_the_training(tmp_path, quick_table, untrained, monkeypatch):
    file = table_in(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="another model"):
        run(tmp_path / "other", tiny_bert(layers=3), table=file)


def table_in(directory, monkeypatch):
    """Return the file of a table for the tiny model of two layers."""
    with monkeypatch.context() as patched:
        patched.setattr(study, "train_supernet", lambda *arguments: None)
        run(directory / "own")
    file = directory / "own" / "costs.json"
    assert CostFile.read(file).threads == 1
    return file
