"""What a user's files answer through public ways: the command line, and the names that README, docs and examples give.

``tests/frozen/make_frozen.py`` took down ``expected.json`` with :func:`take_down`; ``test_frozen.py`` compares with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).parents[1] / "frozen"
TEXTS = [
    "where is my card",
    "lost my new card please help",
    "",
    "The fee is not good, 7 of 8 are late!",
    "someone is using my card in another city, please stop it",
]
SECONDS = ["my card is lost", "new card", "card", "fee", "please stop"]
SCENARIOS = ("bank-support", "cloud-gpu", "mobile", "offline", "scenario.yaml")
RUNS = ("run", "pairs-run", "tags-run", "engines-run")


@contextlib.contextmanager
def in_frozen() -> Iterator[None]:
    with contextlib.chdir(FROZEN):
        yield


def imbik(*arguments: object) -> tuple[str, str]:
    """``python -m imbik …`` in this process: standard output and error of a command that succeeds."""
    before, out, err = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["imbik", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_module("imbik", run_name="__main__")
    except SystemExit as end:
        assert end.code in (0, None), f"imbik {arguments}: {err.getvalue()}"
    finally:
        sys.argv = before
    return out.getvalue(), err.getvalue()


def imbik_json(*arguments: object) -> Any:
    return json.loads(imbik(*arguments)[0])


def checkpoint(folder: Path) -> dict[str, Any]:
    """A checkpoint: what it says of itself, and its logits in float32."""
    import torch

    from imbik import load_checkpoint
    from imbik.locale.notes import sentence

    found = load_checkpoint(folder)
    seconds = [SECONDS] if found.pairs else []
    batch = found.tokenizer(TEXTS, *seconds, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = found.model(**batch).logits
    return {
        "class": type(found.model).__name__,
        "task": found.task,
        "pairs": found.pairs,
        "labels": list(found.model.config.id2label.values()),
        "max_length": int(found.tokenizer.model_max_length),
        "methods": [name for step in found.steps for name in step],
        "notes": [sentence(note) for note in found.notes],
        "numbers": sum(parameter.numel() for parameter in found.model.parameters()),
        "logits": logits.tolist(),
    }


def artefact(folder: Path) -> dict[str, Any]:
    """What an engine answers; a checkpoint folder is one too."""
    from imbik import load_artefact

    predictor = load_artefact(folder, threads=1)
    seconds = [SECONDS] if predictor.pairs else []
    facts = {name: getattr(predictor, name) for name in ("task", "pairs", "engine", "max_length")}
    scores, answers = predictor.scores(TEXTS, *seconds), predictor.predict(TEXTS, *seconds)
    return {**facts, "labels": list(predictor.labels), "scores": scores.tolist(), "predictions": answers.tolist()}


def predicted(folder: str, *options: object) -> list[dict[str, Any]]:
    """``imbik predict``, an object a text."""
    return [json.loads(line) for line in imbik("predict", folder, *TEXTS, "--threads", 1, "--json", *options)[0].splitlines()]


def judged(run: str) -> dict[str, Any]:
    """What ``advise`` and ``roi`` make of a results.json."""
    with in_frozen():
        found = imbik_json("advise", f"{run}/results.json", "--json", *(word for name in SCENARIOS for word in ("--scenario", name)))
        path = imbik_json("advise", f"{run}/results.json", "--json", "--where", "server", "--priority", "speed")
        costs = imbik_json("roi", f"{run}/results.json", "--requests-per-day", 5e6, "--prices", "prices.yaml", "--json")
    return {
        "advise": {one["scenario"]: _advice(one) for one in found},
        "path": _advice(path[0]),
        "currency": costs["currency"],
        "costs": {row["id"]: [row["instance"], row["count"], row["yearly"], row["per_million"]] for row in costs["costs"]},
    }


def _advice(one: dict[str, Any]) -> dict[str, Any]:
    return {"choice": one["choice"], "overall": {name: verdict["overall"] for name, verdict in one["verdicts"].items()}}


def reported(run: str, folder: Path, *options: object) -> dict[str, Any]:
    """The report in Markdown: the candidates that it names at all, and those of the sentences before its first table.

    Cautions are left out: they name what was measured badly, and versions after 0.1 know more of them.
    """
    with in_frozen():
        imbik("report", f"{run}/results.json", "--out", folder / "report.md", "--prices", "prices.yaml", *options)
    text = (folder / "report.md").read_text(encoding="utf-8")
    ids = [m["id"] for m in json.loads((FROZEN / run / "results.json").read_text(encoding="utf-8"))["measurements"]]
    summary = "\n".join(line for line in text.partition("\n|")[0].splitlines() if not line.startswith("> ⚠"))
    return {"named": sorted(name for name in ids if name in text), "summary": sorted(name for name in ids if name in summary)}


def recommended(name: str) -> dict[str, Any]:
    """What a fitted model predicts and recommends."""
    folder = FROZEN / "recommend" / name
    pair = imbik_json("recommend", "predict", folder, "--user", "u3", "--item", "i4", "--json")
    top = imbik_json("recommend", "top", folder, "--user", "u5", "-k", 3, "--seen", "--json")
    measured = imbik_json("recommend", "evaluate", folder, FROZEN / "ratings.csv", "-k", 3, "--json")
    return {"predict": pair, "top": top, "evaluate": measured}


def take_down() -> dict[str, Any]:
    """Everything for ``expected.json``; called once, by ``make_frozen.py``."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        models = [FROZEN / "teacher", *sorted((FROZEN / "students").iterdir())]
        document = {
            "checkpoints": {path.name: checkpoint(path) for path in models},
            "artefacts": {path.name: artefact(path) for path in [*models, *sorted((FROZEN / "artefacts").iterdir())]},
            "runs": {run: judged(run) for run in RUNS},
            "reports": {run: reported(run, Path(folder)) for run in RUNS},
            "recommend": {path.name: recommended(path.name) for path in sorted((FROZEN / "recommend").iterdir())},
        }
    taken: dict[str, Any] = _short(document)
    return taken


def _short(value: Any) -> Any:
    """Seven digits behind the point are enough for a tolerance of 1e-5."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list) else round(value, 7) if isinstance(value, float) else value
