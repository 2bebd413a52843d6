"""Whole recipes: what there is to choose, who chooses, and a log by which a search goes on as if it had not been killed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from imbik.compress.run import compress
from imbik.errors import MissingExtra, UserError
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Silent
from imbik.measure.measurement import Latency, Measurement, Quality, Throughput
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.models.teacher import Teacher
from imbik.pruning.table import Cost
from imbik.recipes.recipe import load_recipe
from imbik.search import levers as choosing
from imbik.search import recipes as job
from imbik.search.candidate import Made, front
from imbik.search.levers import Levers, Size, layers_of, recipe_of
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.search.sampling import Told, ask
from imbik.search.sandwich import Sandwich
from imbik.testing.tiny import tiny_bert, tiny_splits

QUICK = {"levers": "settings", "make": False, "threads": 1, "distill": {"epochs": 1}, "supernet": Sandwich(epochs=1, batch_tokens=512)}


def levers_of(task="classification", sizes=None, **shape):
    teacher = Teacher.of(tiny_bert(task=task, **shape))
    return Levers(teacher, tiny_splits(task), sizes or layers_of(teacher), {"target_steps": 100, "learning_rate": 3e-4}, 0)


def made_up(document):
    """What a recipe keeps and takes, as if it had been measured: larger ones keep more and take longer, half of the bits costs a little."""
    chance = np.random.default_rng(int(key_of({"steps": document["steps"], "student": document.get("student")})[:8], 16))
    size = {"linear": 0.01, "bag": 0.05, "conv": 0.1}.get(str(document.get("student", "")).split("-")[0], 1.0)
    kept = 0.6 + 0.38 * size**0.2 - 0.05 * ("int4" in document["name"]) - 0.1 * chance.random()
    return kept, 0.5 * size + 0.05 + 0.1 * chance.random(), int(1e6 * size * (0.6 if "int4" in document["name"] else 1.0) + 1000)


def measurement(name, engine, kept, ms, size):
    return Measurement(
        id=f"{name}/{engine}", name=name, engine=engine, dev_quality=Quality(value=kept), latency_ms=Latency(p50=ms, p95=2 * ms),
        throughput=Throughput(items_per_s=2000 / ms), bytes=size,
    )  # fmt: skip


class Bench:
    """Stands for ``compress``: counts what it is asked to make, and may be interrupted."""

    def __init__(self):
        self.made, self.left = [], None

    def __call__(self, teacher, splits, directory, *, recipes, **options):
        if self.left is not None and len(self.made) >= self.left:
            raise KeyboardInterrupt
        assert len(recipes) == 1, "one at a time while it is searched"
        (recipe,) = recipes
        name = recipe if isinstance(recipe, str) else recipe.name
        document = {"name": name, "student": name, "steps": []} if isinstance(recipe, str) else {"name": name, **recipe.written()}
        self.made.append(name)
        baseline = measurement("teacher", "torch", 1.0, 9.0, 10**8)
        if "conv" in name:
            failed = ({"name": name, "error": "no room", "kind": "ValueError"},)
            return Results(baseline=baseline.id, measurements=(baseline,), failures=failed)
        return Results(baseline=baseline.id, measurements=(baseline, measurement(name, "onnx", *made_up(document))))


@pytest.fixture
def bench(monkeypatch):
    found = Bench()
    monkeypatch.setattr(job, "compress", found)
    return found


def run(directory, **options):
    return search(tiny_bert(layers=3), tiny_splits(), directory, SearchOptions(**QUICK | options), progress=Silent(), say=lambda line: None)


def log_of(directory):
    return [json.loads(line) for line in next(directory.rglob("recipes.jsonl")).read_text().splitlines()]


@pytest.mark.parametrize("sampler", ["optuna", "random"])
def test_a_kill_after_any_recipe_goes_on_to_the_same_end(sampler, tmp_path, bench):
    options = {"sampler": sampler, "recipes": 16}
    whole = run(tmp_path / "whole", **options)
    assert whole.finished and whole.made == len(bench.made) == 16
    for stop in (1, 5, 9, 13, 15):
        bench.made, bench.left = [], stop
        part = run(tmp_path / str(stop), **options)
        assert not part.finished and part.made == stop and (tmp_path / str(stop) / "best.yaml").is_file()
        log = next((tmp_path / str(stop)).rglob("recipes.jsonl"))
        log.write_bytes(log.read_bytes() + b'{"key": "0')  # as a kill leaves it
        bench.left = None
        again = run(tmp_path / str(stop), **options)
        assert log_of(tmp_path / str(stop)) == log_of(tmp_path / "whole") and again.best == whole.best and len(bench.made) == 16
        assert (tmp_path / str(stop) / "best.yaml").read_text() == (tmp_path / "whole" / "best.yaml").read_text()


def test_another_budget_makes_nothing_again_and_chooses_by_what_is_known(tmp_path, bench):
    loose = run(tmp_path, recipes=14)
    bench.left = len(bench.made)
    candidates = [Made(e["document"]["name"], m["engine"], e["document"], m["retention"], Cost(m["ms"], m["bytes"], m["batch_ms"]))
                  for e in log_of(tmp_path) for m in e["measured"]]  # fmt: skip
    for limits in (Limits(max_latency_ms=0.2), Limits(max_mb=0.05), Limits(min_retention=0.7), Limits(max_latency_ms=0.01)):
        found = run(tmp_path, recipes=14, limits=limits)
        assert found.finished and found.made == loose.made
        inside = [one for one in candidates if not one.violation(limits)]
        if limits == Limits(min_retention=0.7):
            wanted = min((one for one in candidates if one.retention >= 0.7), key=lambda one: one.cost.ms)
        else:
            wanted = max(inside, key=lambda one: one.retention) if inside else min(candidates, key=lambda one: one.violation(limits))
        assert found.best == wanted, limits
        told = json.loads((tmp_path / "best.json").read_text())
        assert told["name"] == wanted.name and told["measured"] is True
        # the front by hand: nothing else is as good in all three
        points = {(one.name, one.engine): (-one.retention, one.cost.ms, one.cost.bytes) for one in candidates}
        kept = {name for name, own in points.items() if not any(other != own and all(np.array(other) <= own) for other in points.values())}
        assert {(one["name"], one["engine"]) for one in told["front"]} == kept


def test_more_recipes_go_on_behind_those_that_are_there(tmp_path, bench):
    run(tmp_path, recipes=4)
    assert bench.made[:4] == ["linear", "linear-words", "bag-64+vocabulary-tight+int4", "bag-128+vocabulary-tight+int8"], (
        "what costs least first"
    )
    run(tmp_path, recipes=6)
    assert len(bench.made) == len(set(bench.made)) == 6
    failed = [entry for entry in log_of(tmp_path) if "error" in entry]
    assert [entry["error"] for entry in failed] == ["no room"], "a failure is logged, and not made again"


def test_a_space_that_is_used_up_ends_the_search(tmp_path, bench, monkeypatch):
    monkeypatch.setattr(Levers, "kinds", ("linear",))
    found = run(tmp_path, recipes=24)
    assert found.finished and found.made == 1


def test_nothing_made_is_told(tmp_path, bench):
    with pytest.raises(UserError, match="before its first recipe was measured"):
        run(tmp_path, minutes=0.0)
    bench.left = 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_without_optuna_one_message_names_the_extra_before_any_work(tmp_path, monkeypatch, bench):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"package not installed") as caught:
        run(tmp_path)
    assert "imbik[search]" in str(caught.value) and not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(job, "compress", bench)
    assert run(tmp_path, sampler="random", recipes=2).made == 2


@pytest.mark.parametrize(("options", "told"), [({"sampler": "grid"}, "unknown sampler"), ({"levers": "bits"}, "unknown levers")])
def test_what_there_is_not_is_refused(options, told, tmp_path):
    with pytest.raises(UserError, match=told):
        run(tmp_path, **options)


@pytest.mark.parametrize("task", ["classification", "regression", "token-classification", "multi-label"])
def test_every_choice_is_a_recipe_that_can_be_planned(task):
    levers = levers_of(task, layers=3, hidden=160, heads=4)
    assert ("bag" in levers.kinds) == (task != "token-classification") and ("linear" in levers.kinds) == (task == "classification")
    assert levers.narrow == (64, 128) and levers.kinds[-1] == "narrow"
    drawn = [*levers.starts(), *(ask("random", levers, [], (place,)) for place in range(200))]
    assert {one["kind"] for one in drawn} == set(levers.kinds)
    for choices in drawn:
        document = levers.document(choices)
        recipe = recipe_of(document, "test")
        if isinstance(recipe, str):
            continue
        recipe.student.plan(levers.teacher)
        assert document["steps"][-1].get("quantize") and len(document["name"]) <= 100
        assert all(step.why_not(task) is None for step in recipe.steps)


def test_names_tell_recipes_apart_and_what_has_no_effect_is_one_choice():
    levers = levers_of(layers=3)
    drawn = [levers.document(ask("random", levers, [], (place,))) for place in range(400)]
    content = {one["name"]: json.dumps({**one, "name": ""}) for one in drawn}
    assert all(content[one["name"]] == json.dumps({**one, "name": ""}) for one in drawn) and len(set(content.values())) == len(content)
    whole = [one for one in drawn if one["name"].startswith("whole") and "rank" not in one["name"]]
    assert whole and not any("distill" in step for one in whole for step in one["steps"])


def test_shipped_students_are_trained_as_their_recipes_say():
    levers = levers_of(layers=3)
    choices = {"kind": "bag", "bag width": 64, "bag vocabulary": "vocabulary-tight", "bag bits": "int4", "bag copies": 0}
    shipped = load_recipe("bag-64+vocabulary-tight+int4").written()
    document = levers.document(choices)
    assert document["name"] == "bag-64+vocabulary-tight+int4" and {name: document[name] for name in shipped} == shipped
    made = levers.document({**choices, "bag copies": 8})["steps"][0]["distill"]
    assert made["augment"] == {"masked_model": "none", "copies": 8, "most": 45000}


def test_hidden_widths_are_those_that_can_begin_at_the_teachers():
    # heads of 32 each: as many as the teacher has at most, and none wider than its own
    assert levers_of(layers=3, hidden=384, heads=12).narrow == (64, 128, 192, 256, 320)
    assert levers_of(hidden=384, heads=6).narrow == (64, 128, 192)
    assert levers_of(hidden=384, heads=24).narrow == levers_of(hidden=64, heads=2).narrow == levers_of(hidden=160, heads=1).narrow == ()
    levers = levers_of(layers=3, hidden=384, heads=12)
    drawn = [one for place in range(300) if (one := ask("random", levers, [], (place,)))["kind"] == "narrow"]
    assert {(one["narrow depth"], one["narrow width"]) for one in drawn} == {(d, w) for d in (1, 2, 3) for w in levers.narrow}
    students = {levers.document(one)["student"] for one in drawn}
    assert "mini-3x320" in students and not any(
        recipe_of(levers.document(one), "test").student.plan(levers.teacher) is None for one in drawn
    )


def test_what_cannot_be_chosen_any_more_is_not_told(caplog):
    levers = levers_of(layers=3)
    old = Told({"kind": "narrow", "narrow shape": "mini-2x128"}, 0.9, 0.1, 1e5)
    gone = Told({**levers.starts()[2], "bag bits": "int3"}, 0.9, 0.1, 1e5)
    known = Told(levers.starts()[2], 0.9, 0.1, 1e5)
    assert ask("optuna", levers, [old, known, gone], (1, 1)) == ask("optuna", levers, [known], (1, 1))


def test_sizes_are_taken_by_the_nearest_and_noted_as_they_are():
    sizes = (Size("a", 0.1), Size("b", 0.5), Size("whole", 1.0))
    levers = levers_of(sizes=sizes)
    for place in range(60):
        choices = ask("random", levers, [], (place,))
        assert choices.get("layers size", 1.0) in (0.1, 0.5, 1.0)
    assert levers.nearest(0.31).name == "b" and levers.nearest(0.29).name == "a"


def test_the_sampler_learns_and_is_a_function_of_what_it_was_told():
    levers = levers_of(layers=3)
    told = []
    for place in range(30):
        choices = ask("random", levers, [], (place,))
        # bags alone are good in everything
        good = choices["kind"] == "bag"
        told.append(Told(choices, 0.9 if good else 0.5, 0.1 if good else 1.0, 1e5 if good else 1e6))
    asked = [ask("optuna", levers, told, (1, place)) for place in range(40)]
    assert asked == [ask("optuna", levers, told, (1, place)) for place in range(40)]
    assert [one["kind"] for one in asked].count("bag") > 20, "by chance ten"


def test_a_sampler_that_only_asks_for_what_is_known_gives_way_to_chance(tmp_path, bench, monkeypatch):
    monkeypatch.setattr(
        job, "ask", lambda sampler, levers, told, place: levers.starts()[0] if sampler == "optuna" else ask("random", levers, told, place)
    )
    found = run(tmp_path, recipes=12)
    assert found.finished and found.made == len(set(bench.made)) == 12


def test_the_front():
    def made(kept, ms, size):
        return Made("x", "onnx", {}, kept, Cost(ms, size, ms))

    best, small, worse, twin = made(0.9, 1.0, 10), made(0.8, 2.0, 5), made(0.8, 1.0, 10), made(0.9, 1.0, 10)
    assert front([best, small, worse, twin]) == [best, small, twin]


def test_the_whole_search_makes_recipes_that_compress_repeats(tmp_path, monkeypatch):
    teacher, splits = tiny_bert(layers=2), tiny_splits()
    real = choosing._shipped
    monkeypatch.setattr(choosing, "_shipped", lambda student: {**real(student), "target_steps": 10})
    monkeypatch.setattr(Levers, "kinds", ("linear", "bag", "layers"))
    options = SearchOptions(**QUICK | {"levers": "all", "make": True, "evaluations": 3, "recipes": 4, "limits": Limits(min_retention=0.1)})
    found = search(teacher, splits, tmp_path / "a", options, progress=Silent(), say=lambda line: None)
    entries = log_of(tmp_path / "a")
    assert found.finished and found.looked_at == 3 and found.made == len(entries) >= 4 and isinstance(found.best, Made)
    assert [entry["document"]["name"] for entry in entries[:2]] == ["linear", "bag-64+vocabulary-tight+int4"]
    assert all(entry["measured"] for entry in entries), entries
    pruned = [entry for entry in entries if entry["document"]["name"].startswith("pruned")]
    assert pruned and any("prune" in step for step in pruned[0]["document"]["steps"])
    assert found.results is not None and {m.name for m in found.results.measurements} > {found.best.name}
    page = (tmp_path / "a" / "search.html").read_text()
    assert page.count("<rect") >= 4 and "bag-64+vocabulary-tight+int4" in page
    again = compress(teacher, splits, tmp_path / "again", recipes=[found.recipe], threads=1, progress=Silent(), say=lambda line: None)
    twin = next(m for m in again.measurements if m.name in ("best", "linear") and m.engine == found.best.engine)
    assert twin.bytes == pytest.approx(found.best.cost.bytes, rel=0.02)
    # nothing is made again: the same call ends at once
    monkeypatch.setattr(job, "compress", lambda *arguments, **options: pytest.fail("made a second time"))
    second = search(teacher, splits, tmp_path / "a", replace(options, make=False), progress=Silent(), say=lambda line: None)
    assert second.best == found.best and second.made == found.made


def test_a_file_that_names_the_linear_student_is_taken_by_compress(tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text(yaml.safe_dump({"name": "best", "student": "linear", "steps": []}))
    teacher, splits = tiny_bert(layers=1), tiny_splits()
    found = compress(teacher, splits, tmp_path / "run", recipes=[file], threads=1, progress=Silent(), say=lambda line: None)
    assert any(m.name == "linear" for m in found.measurements)
    file.write_text(yaml.safe_dump({"name": "best", "student": "linear", "steps": [{"quantize": {"scheme": "dynamic"}}]}))
    with pytest.raises(UserError, match="takes no steps"):
        compress(teacher, splits, tmp_path / "run", recipes=[file], threads=1, progress=Silent(), say=lambda line: None)
