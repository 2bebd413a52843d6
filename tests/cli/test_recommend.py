"""`imbik recommend`: the documented commands, and what a mistake is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_ratings import low_rank, two_groups
from typer.testing import CliRunner

from imbik.cli.commands.recommend import group as app
from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.evaluation.comparison import suited

RUNNER = CliRunner()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    ratings = low_rank()
    rows = zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values, strict=True)
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "".join(f"{u},{i},{v:.3f}\n" for u, i, v in rows))
    return tmp_path / "r.csv"


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def mistake(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        RUNNER.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return str(caught.value)


def test_the_whole_story(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    run("fit", csv, "--model", "bpmf", "--rank", 2, "--set", "samples=20", "--set", "burn_in=10", "--out", out)
    assert sorted(p.name for p in out.iterdir()) == ["arrays.safetensors", "model.json"]
    measures = json.loads(run("evaluate", out, csv, "--json"))
    assert measures["rmse"] < 0.6 and 0.8 < measures["coverage"] <= 1
    one = json.loads(run("predict", out, "--user", "u1", "--item", "i2", "--json"))[0]
    assert one["low"] < one["prediction"] < one["high"]
    (tmp_path / "pairs.csv").write_text("user,item\nu1,i2\nu2,i3\n")
    lines = run("predict", out, "--file", tmp_path / "pairs.csv").splitlines()
    assert lines[0] == "user,item,prediction,low,high" and len(lines) == 3 and f"{one['prediction']:.4f}" in lines[1]
    best = json.loads(run("top", out, "--user", "u1", "-k", 3, "--json"))
    assert len(best) == 3 and best[0]["score"] >= best[2]["score"]
    assert best[0]["item"] in run("top", out, "--user", "u1", "-k", 3)
    run("fit", csv, "--rank", 2, "--continue", out, "--set", "samples=5", "--set", "burn_in=0", "--out", out)


def test_compare_prints_and_writes(csv: Path, tmp_path: Path) -> None:
    text = run("compare", csv, "--model", "biases", "--model", "pmf", "--rank", 2, "--splits", 2, "--out", tmp_path / "c")
    assert "pmf" in text and "RMSE" in text
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["compare.json", "compare.md", "compare.svg"]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e7])
def test_errors_and_predictions_are_shown_in_any_unit(unit: float, tmp_path: Path) -> None:
    """Ratings of a millionth have errors of a millionth; four places behind the point would show 0.0000 for every model."""
    ratings = low_rank()
    rows = list(zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values, strict=True))
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "".join(f"{u},{i},{unit * v:.12g}\n" for u, i, v in rows))
    run("compare", tmp_path / "r.csv", "--model", "biases", "--model", "global-mean", "--splits", 2, "--out", tmp_path / "c")
    table = (tmp_path / "c" / "compare.md").read_text().splitlines()
    shown = [float(line.split("|")[2].split("±")[0]) for line in table if line.startswith(("| biases", "| global-mean"))]
    exact = [row["measures"]["rmse"]["mean"] for row in json.loads((tmp_path / "c" / "compare.json").read_text())["models"]]
    assert shown == pytest.approx(exact, rel=0.01) and shown[0] < shown[1]
    run("fit", tmp_path / "r.csv", "--model", "biases", "--out", tmp_path / "m")
    one = json.loads(run("predict", tmp_path / "m", "--user", rows[0][0], "--item", rows[0][1], "--json"))[0]["prediction"]
    line = run("predict", tmp_path / "m", "--user", rows[0][0], "--item", rows[0][1]).splitlines()[1]
    assert float(line.split(",")[2]) == pytest.approx(one, rel=0.01)


def test_events_are_read_as_such(tmp_path: Path) -> None:
    events = two_groups()
    rows = zip(events.user_ids[events.users], events.item_ids[events.items], strict=True)
    (tmp_path / "e.tsv").write_text("".join(f"{u}\t{i}\t3\n" for u, i in rows))
    run("fit", tmp_path / "e.tsv", "--model", "als", "--rank", 2, "--out", tmp_path / "m")
    best = json.loads(run("top", tmp_path / "m", "--user", "u2", "-k", 3, "--json"))
    assert all(int(row["item"][1:]) % 2 == 0 for row in best)


def test_mistakes(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    assert "unknown model" in mistake("fit", csv, "--model", "magic", "--out", out)
    assert "name=value" in mistake("fit", csv, "--set", "rank", "--out", out)
    assert "no such setting" in mistake("fit", csv, "--model", "biases", "--rank", 3, "--out", out)
    assert "rank does not fit" in mistake("fit", csv, "--rank", 900, "--out", out)
    assert "file not found" in mistake("fit", tmp_path / "none.csv", "--out", out)
    assert "--duplicates" in mistake("fit", csv, "--duplicates", "first", "--out", out)
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "something else" in mistake("fit", csv, "--model", "biases", "--out", tmp_path / "full")
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    assert "lies in one" in mistake("fit", csv, "--out", csv / "m")
    assert "lies in one" in mistake("compare", csv, "--out", csv / "m")
    out.mkdir()
    (out / "arrays.tmp").write_text("left by a fit that was killed while it saved")
    run("fit", csv, "--model", "biases", "--out", out)
    assert "unknown user" in mistake("top", out, "--user", "nobody")
    assert "'no such'" in mistake("predict", out, "--user", "u1", "--item", "no such")
    assert "nothing to predict" in mistake("predict", out, "--user", "u1")
    assert "holds no model" in mistake("top", tmp_path, "--user", "u1")
    assert run("predict", out, "--user", "nobody", "--item", "i1", "--cold")


def test_a_folder_that_cannot_be_written_is_told_before_the_fit(csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    monkeypatch.setattr("imbik.recommend.data.reading.read_ratings", lambda *a, **k: pytest.fail("read before the folder was looked at"))
    assert "cannot be written" in mistake("fit", csv, "--out", tmp_path / "m")


def test_measuring_on_the_training_data_is_noted(csv: Path, tmp_path: Path) -> None:
    run("fit", csv, "--model", "biases", "--out", tmp_path / "m")
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path / "m"), str(csv), "--json"], catch_exceptions=False)
    assert "the figures flatter it" in result.stderr and "rmse" in json.loads(result.stdout)


def test_all_commands_read_files_alike(csv: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(csv.read_text().replace("user,item,rating", "kişi,şey,değer"), encoding="windows-1254")
    columns = "--user-column", "1", "--item-column", "şey", "--rating-column", "3", "--encoding", "windows-1254"
    run("fit", other, "--model", "biases", "--out", tmp_path / "m", *columns)
    alike = json.loads(run("evaluate", tmp_path / "m", other, "--json", *columns))
    assert alike == json.loads(run("evaluate", tmp_path / "m", csv, "--json"))
    assert json.loads(run("compare", other, "--model", "biases", "--splits", 1, "--json", *columns))["data"]["users"] == 60
    (tmp_path / "pairs.csv").write_text("şey;değer;kişi\ni2;1;u1\n", encoding="windows-1254")
    pairs = "--file", tmp_path / "pairs.csv", "--user-column", "kişi", "--item-column", "şey", "--encoding", "windows-1254"
    assert run("predict", tmp_path / "m", *pairs).splitlines()[1].startswith("u1,i2,")


def test_unknown_ids_of_a_file_are_told_with_their_row(csv: Path, tmp_path: Path) -> None:
    run("fit", csv, "--model", "biases", "--out", tmp_path / "m")
    (tmp_path / "p.csv").write_text("user,item\nu1,i2\nu1,nothing\n")
    assert "p.csv, row 3: unknown item. Found: 'nothing'" in mistake("predict", tmp_path / "m", "--file", tmp_path / "p.csv")
    assert "u1,nothing," in run("predict", tmp_path / "m", "--file", tmp_path / "p.csv", "--cold")
    (tmp_path / "p.csv").write_text("user,item\nu1,i2\n ,i2\n")
    assert "row 3: the user id is empty" in mistake("predict", tmp_path / "m", "--file", tmp_path / "p.csv", "--cold")


def test_what_is_missing_from_a_result_is_noted(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating\na,x,5\na,y,3\nb,x,1\n")
    run("fit", tmp_path / "r.csv", "--model", "biases", "--out", tmp_path / "m")
    result = RUNNER.invoke(app, ["top", str(tmp_path / "m"), "--user", "a", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout) == [] and "--seen" in result.stderr
    (tmp_path / "new.csv").write_text("user,item,rating\nb,y,5\nnew,y,3\n")
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path / "m"), str(tmp_path / "new.csv")], catch_exceptions=False)
    assert "1 of these 2 cells have a user or item that training did not" in result.stderr


def test_compare_takes_the_models_that_suit_and_ranks_any_mixture(csv: Path, tmp_path: Path) -> None:
    mixed = json.loads(run("compare", csv, "--model", "als", "--model", "biases", "--rank", 2, "--splits", 1, "--json"))
    assert mixed["metric"] == "ndcg" and len(mixed["models"]) == 2
    signed = Ratings.of(["a", "b"], ["x", "y"], [-1, 1])
    assert "nmf" not in suited(signed) and "nmf" in suited(Ratings.of(["a", "b"], ["x", "y"], [0, 1]))


def test_a_model_of_another_rank_or_format_or_with_lost_ids_is_refused(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    run("fit", csv, "--model", "pmf", "--rank", 2, "--out", out)
    told = mistake("fit", csv, "--model", "pmf", "--rank", 3, "--continue", out, "--out", tmp_path / "n")
    assert "Found: rank 2. Expected: rank 3. Do: fit with --rank 2" in told
    document = json.loads((out / "model.json").read_text())
    (out / "model.json").write_text(json.dumps({**document, "items": document["items"][:-1]}))
    assert "cannot be read. Found: 'ValueError: users or items are missing'" in mistake("top", out, "--user", "u1")
    newer = {**document, "format": 2, "settings": {**document["settings"], "unheard": 1}}
    (out / "model.json").write_text(json.dumps(newer))
    assert "another format. Found: 2. Expected: 1" in mistake("top", out, "--user", "u1")


def test_what_compare_leaves_out_is_said_in_table_json_and_page(tmp_path: Path) -> None:
    ratings = low_rank()
    rows = zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values - 3, strict=True)
    (tmp_path / "signed.csv").write_text("user,item,rating\n" + "".join(f"{u},{i},{v:.3f}\n" for u, i, v in rows))
    command = ("compare", tmp_path / "signed.csv", "--rank", 2, "--splits", 1)
    said = run(*command, "--out", tmp_path / "c")
    assert "left out: nmf:" in said and "not negative" in said
    assert "left out: nmf:" in (tmp_path / "c" / "compare.md").read_text() and "nmf" in (tmp_path / "c" / "compare.svg").read_text()
    result = json.loads(run(*command, "--json"))
    assert [entry["name"] for entry in result["left_out"]] == ["nmf"] and "nmf" not in {entry["name"] for entry in result["models"]}
    assert json.loads(run("compare", tmp_path / "signed.csv", "--model", "biases", "--splits", 1, "--json"))["left_out"] == []
    assert "not negative" in mistake("compare", tmp_path / "signed.csv", "--model", "nmf", "--rank", 2)
    assert "rank does not fit" in mistake("compare", tmp_path / "signed.csv", "--rank", 900)


def test_a_model_of_others_is_not_replaced(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "web"
    out.mkdir()
    (out / "model.json").write_text('{"format": "layers-model"}')
    assert "no model of imbik" in mistake("fit", csv, "--model", "biases", "--out", out)
    assert [path.name for path in out.iterdir()] == ["model.json"] and "layers-model" in (out / "model.json").read_text()
    (out / "compare.md").write_text("mine")
    assert "no comparison wrote" in mistake("compare", csv, "--model", "biases", "--out", out)
    assert (out / "compare.md").read_text() == "mine"


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating\na,[bold]x[/bold],5\na,y\\,3\nb,[/b],1\n")
    run("fit", tmp_path / "r.csv", "--model", "biases", "--out", tmp_path / "m")
    said = run("top", tmp_path / "m", "--user", "b")
    assert "[bold]x[/bold]" in said and "y\\ " in said


def test_a_model_is_loaded_by_a_process_that_has_fitted_none(csv: Path, tmp_path: Path) -> None:
    run("fit", csv, "--model", "biases", "--out", tmp_path / "m")
    command = [sys.executable, "-m", "imbik", "recommend", "predict", str(tmp_path / "m"), "--user", "u1", "--item", "i2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(run("predict", tmp_path / "m", "--user", "u1", "--item", "i2", "--json"))


def test_a_fit_on_a_cluster_and_a_logistic_link_are_asked_for_by_options(csv: Path, tmp_path: Path) -> None:
    # "here" is the cluster without Ray: the workers are objects of this process
    options = ["--model", "bpmf", "--rank", 2, "--set", "samples=5", "--set", "burn_in=5"]
    run("fit", csv, *options, "--ray", "here", "--workers", 3, "--out", tmp_path / "three")
    run("fit", csv, *options, "--ray", "here", "--workers", 1, "--out", tmp_path / "one")
    assert (tmp_path / "three" / "arrays.safetensors").read_bytes() == (tmp_path / "one" / "arrays.safetensors").read_bytes()
    run("fit", csv, "--model", "pmf", "--rank", 2, "--link", "logistic", "--set", "solver=sgd", "--out", tmp_path / "bent")
    assert json.loads((tmp_path / "bent" / "model.json").read_text())["settings"]["link"] == "logistic"


def test_what_a_cluster_or_a_link_cannot_is_told_before_the_file_is_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.csv"
    assert "svd is fitted on one machine" in mistake("fit", nowhere, "--model", "svd", "--ray", "local", "--out", tmp_path / "m")
    assert "conjugate gradients go on from rows" in mistake("fit", nowhere, "--model", "als", "--ray", "local", "--out", tmp_path / "m")
    assert "workers belong to a cluster" in mistake("fit", nowhere, "--workers", 2, "--out", tmp_path / "m")
    assert "the svd model has no such setting" in mistake("fit", nowhere, "--model", "svd", "--link", "logistic", "--out", tmp_path / "m")
