"""Makes this folder: what a user of imbik 0.1.0 may have on disk, written by commit 401e489 and never again.

    git worktree add ../then 401e489 && cp -r tests/frozen tests/journeys ../then/tests
    cd ../then && OMP_NUM_THREADS=1 python tests/frozen/make_frozen.py EMPTY_FOLDER

Later commits are tested against the files as they are (``tests/journeys/test_frozen.py``): what a user has must still open and answer
as it did. So do not run this with later code; if a new kind of file comes to be, freeze it beside these with a script of its own.

Everything is made by the command line, as a user makes it, of a tiny random encoder and made-up sentences. Three things are not as
imbik left them: where a model's origin was (an absolute path in ``imbik_base``) is replaced by /home/user; README.md of the students and
report.html, which nothing reads, are left out; of the candidates of ``run`` only some models and artefacts are kept, for their size.

The pieces:

* ``data``, ``pairs``, ``tags``: classification, regression of text pairs, multi-label; ``ratings.csv``: users and items.
* ``base``: a masked language model of ``imbik finetune --task mlm``; ``teacher``: of ``imbik finetune``.
* ``recipes/shipped``: every shipped recipe as ``imbik recipes NAME`` printed it; ``recipes/run``: what ``run`` was made of;
  ``recipes/mine``: three recipes as a user may write them, every method in other settings than its defaults, with ``*.printed``.
* ``students``: checkpoints of compress, each structure that a folder records; ``artefacts``: one or two of each engine.
* ``run``: results.json of compress with failures and notes, the teacher's predictions; ``pairs-run``, ``tags-run`` other tasks;
  ``engines-run``: two engines; ``skipped-run``: no time left for a recipe.
* ``finished``: a whole output folder of compress, which the same command finds finished.
* ``measured``: what ``imbik measure --json`` wrote, with and without a baseline, and ``imbik compare-architectures --json``.
* ``scenario.yaml``, ``prices.yaml``, ``recommend``: a fitted folder of every model.
* ``expected.json``: what all of them answered, taken down by ``tests/journeys/frozen_answers.py``.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "journeys"))

COMMIT = "401e489"
TRAIN = "epochs: 4, learning_rate: 1.0e-2"
RUN = {
    "int8": "[quantize: {scheme: dynamic}]",
    "low-rank": f"[low_rank: {{rank: 2}}, distill: {{{TRAIN}}}, quantize: {{scheme: dynamic}}]",
    "nmf": "[low_rank: {method: nmf, rank: 1}]",
    "embedding": "[embedding: {rank: 4}]",
    "cluster": f"[cluster: {{values: 16}}, distill: {{{TRAIN}}}]",
    "albert": f"[share: {{groups: 1, init: mean, embedding: 4}}, distill: {{{TRAIN}}}]",
    "share-ffn": "[share: {groups: 1, what: ffn, init: first}]",
    "vocabulary": "[vocabulary: {margin: 0, characters: seen}]",
    "mixed": "[vocabulary: {margin: 4}, embedding: {rank: 6}, low_rank: {rank: 2}, quantize: {scheme: dynamic}]",
    "static": "[quantize: {scheme: static, calibration: min-max, samples: 20}]",
    "qat": "[quantize: {scheme: qat, epochs: 2, samples: 20}]",
    "int4": "[quantize: {scheme: weight-only, bits: 4, block: 16}]",
    "integer": "[quantize: {scheme: integer, samples: 20}]",
    "distilbert": f"[distilbert: {{{TRAIN}}}]",
    "mobilebert": "[mobilebert: {schedule: joint, bridge_steps: 8, transfer_steps: 8}]",
    "narrow": f"[minilm: {{relation_heads: 2, epochs: 2}}, distill: {{{TRAIN}}}]",
    "broken": "[cluster: {values: 256}, quantize: {scheme: dynamic}]",
}
STUDENTS = {
    "low-rank": "layers-1",
    "nmf": "layers-1",
    "embedding": "layers-1",
    "vocabulary": "layers-1",
    "static": "layers-1",
    "int4": "layers-1",
    "integer": "layers-1",
    "cluster": "{layers: 1, hidden: 32, heads: 2, intermediate: 32}",
    "mixed": "layers-1",
    "qat": "layers-1",
    "distilbert": "distilbert-1l",
    "mobilebert": "{family: mobilebert, layers: 1, hidden: 8, bottleneck: 4, heads: 2, feedforwards: 1, embedding: 4}",
    "narrow": "{layers: 1, hidden: 4, heads: 2}",
}
MODELS = [name for name in RUN if name not in ("int8", "int4", "integer", "static", "nmf", "broken")]
ARTEFACTS = ("int8", "mixed", "int4", "integer")
RECOMMENDERS = {
    "global-mean": [],
    "biases": [],
    "most-popular": ["--implicit"],
    "item-knn": [],
    "truncated-svd": ["--rank", "2"],
    "svd": ["--rank", "2"],
    "nmf": ["--rank", "2"],
    "pmf": ["--rank", "2"],
    "bpmf": ["--rank", "2", "--set", "samples=6", "--set", "burn_in=4"],
    "logistic": ["--rank", "2", "--implicit"],
    "als": ["--rank", "2", "--implicit"],
}


def imbik(*arguments: object) -> str:
    """Run a command in the scratch folder; returns its standard output."""
    command = [sys.executable, "-m", "imbik", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stderr.write(f"imbik {' '.join(map(str, arguments))}\n")
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def printed(recipe: object) -> str:
    """What ``imbik recipes`` prints, without a process of its own."""
    from frozen_answers import imbik as here

    return here("recipes", recipe)[0]


def write(path: str, head: list[str], rows: Iterable[Iterable[Any]]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def make_data() -> None:
    """Made-up sentences whose labels follow from their words."""
    from imbik.testing import WORDS

    draw = random.Random(0)
    plain, telling = WORDS[:14], {"bad": ["lost", "late", "bad"], "good": ["found", "early", "good"], "other": ["old", "open", "close"]}

    def text(label: str) -> str:
        words = draw.choices(plain, k=draw.randint(1, 6)) + draw.choices(telling[label], k=2)
        return " ".join(draw.sample(words, len(words)))

    for part, rows in (("train", 120), ("dev", 24), ("test", 24)):
        labelled = [(text(label), label) for label in (list(telling) * rows)[:rows]]
        texts, seconds = [t for t, _ in labelled], [text(draw.choice(list(telling))) for _ in range(rows)]
        write(f"data/{part}.csv", ["text", "label"], labelled)
        write(f"tags/{part}.csv", ["text", "card", "money"], ((t, int("card" in t), int("money" in t)) for t in texts))
        scored = ((a, b, len({*a.split()} & {*b.split()}) / 2) for a, b in zip(texts, seconds, strict=True))
        write(f"pairs/{part}.csv", ["sentence1", "sentence2", "score"], scored)
    seen = {(draw.randrange(12), draw.randrange(9)) for _ in range(70)}
    write("ratings.csv", ["user", "item", "rating"], ((f"u{u}", f"i{i}", 1 + (u * i + u) % 5) for u, i in sorted(seen)))
    Path("raw.txt").write_text("\n".join(text(draw.choice(list(telling))) for _ in range(200)), encoding="utf-8")


def make_base() -> None:
    """A random encoder of width 8, with a head for masked words fitted to it."""
    import torch
    from transformers import BertConfig, BertModel

    from imbik.testing import tiny_tokenizer

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 40}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **shape))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained("start")
    tokenizer.save_pretrained("start")
    imbik("finetune", "--task", "mlm", "--base", "start", "--data", "raw.txt", "--out", "base", "--max-length", 16, "--max-steps", 20)
    hide_home("base")


def hide_home(folder: str) -> None:
    """Another working folder in what a model says it was made of."""
    config = Path(folder, "config.json")
    config.write_text(config.read_text("utf-8").replace(str(Path.cwd()), "/home/user"), encoding="utf-8")


def make_teachers() -> None:
    for data, rate, *more in (("data", 6e-2), ("pairs", 6e-2), ("tags", 1e-2, "--label", "card,money")):
        out = "teacher" if data == "data" else f"{data}-teacher"
        learn = ("--epochs", 60, "--learning-rate", rate, "--max-length", 32)
        imbik("finetune", "--base", "base", "--data", data, "--out", out, *learn, *more)
        hide_home(out)


def make_recipes() -> None:
    Path("recipes/run").mkdir(parents=True, exist_ok=True)
    Path("recipes/shipped").mkdir(exist_ok=True)
    for name, steps in RUN.items():
        student = f"student: {STUDENTS[name]}\n" if name in STUDENTS else ""
        Path(f"recipes/run/{name}.yaml").write_text(f"name: {name}\n{student}steps: {steps}\n", encoding="utf-8")
    shipped = [file.stem for file in (HERE.parents[1] / "src" / "imbik" / "recipes").glob("*.yaml")]
    for name in [*sorted(shipped), "layers-5+int8", "distilbert-3l", "layers-1+vocabulary+int8", "svd-50+int8-qat"]:
        Path(f"recipes/shipped/{name}.yaml").write_text(printed(name), encoding="utf-8")
    shutil.copytree(HERE / "recipes" / "mine", "recipes/mine", dirs_exist_ok=True)
    for file in sorted(Path("recipes/mine").glob("*.y*ml")):
        file.with_suffix(".printed").write_text(printed(file), encoding="utf-8")


def make_runs() -> None:
    """All of them for one named processor, so that a later call on another machine makes the same."""
    common = ("--cpu", "x86", "--threads", 1, "--min-retention", 0.8)
    task = ("compress", "--teacher", "teacher", "--data", "data", *common)
    named = [word for name in RUN for word in ("--recipe", f"recipes/run/{name}.yaml")]
    imbik(*task, "--out", "run", *named, "--unlabelled", "raw.txt")
    imbik(*task, "--out", "finished", "--recipe", "recipes/run/nmf.yaml")
    imbik(*task, "--out", "engines-run", "--recipe", "recipes/run/low-rank.yaml", "--recipe", "recipes/run/narrow.yaml", "--engine", "auto")
    imbik(*task, "--out", "skipped-run", "--recipe", "int8", "--minutes", 1e-9)
    for data in ("pairs", "tags"):
        other = ("compress", "--teacher", f"{data}-teacher", "--data", data, "--out", f"{data}-run", *common)
        imbik(*other, "--recipe", "recipes/run/static.yaml", *(["--label", "card,money"] if data == "tags" else []))


def make_measurements() -> None:
    Path("measured").mkdir(exist_ok=True)
    measure = ("measure", "run/int8/artefacts/onnx", "run/mixed/artefacts/onnx", "--data", "data", "--threads", 1)
    imbik(*measure, "--json", "measured/phone.json")
    imbik(*measure, "--baseline", "run/teacher/predictions.npz", "--json", "measured/with-baseline.json")
    shape = ("--shape", "tinybert-4l-312", "--base", "base", "--data", "data", "--threads", 1)
    imbik("compare-architectures", *shape, "--json", "measured/architectures.json")


def make_recommenders() -> None:
    for name, options in RECOMMENDERS.items():
        imbik("recommend", "fit", "ratings.csv", "--model", name, "--out", f"recommend/{name}", "--threads", 1, *options)


def keep() -> None:
    """Copy what is frozen from the scratch folder to this one."""
    no_card = shutil.ignore_patterns("README.md")
    whole = ("data", "pairs", "tags", "base", "teacher", "finished", "recipes", "measured", "recommend")
    for name in whole:
        shutil.copytree(name, HERE / name, ignore=shutil.ignore_patterns("report.html", "lock"), dirs_exist_ok=True)
    for name in MODELS:
        shutil.copytree(f"run/{name}/model", HERE / "students" / name, ignore=no_card)
    kept = {f"onnx-{name}": f"run/{name}/artefacts/onnx" for name in ARTEFACTS}
    kept |= {"onnx-float": "run/narrow/artefacts/onnx"} | {name: f"{name}-run/static/artefacts/onnx" for name in ("pairs", "tags")}
    kept |= {"openvino-float": "engines-run/narrow/artefacts/openvino", "executorch-int8": "engines-run/low-rank/artefacts/executorch"}
    for name, source in kept.items():
        shutil.copytree(source, HERE / "artefacts" / name)
    for name in ("run", "pairs-run", "tags-run", "engines-run", "skipped-run"):
        (HERE / name / "teacher").mkdir(parents=True)
        shutil.copy(f"{name}/results.json", HERE / name)
        shutil.copy(f"{name}/teacher/predictions.npz", HERE / name / "teacher")
    shutil.copy("ratings.csv", HERE)


def main() -> None:
    scratch = Path(sys.argv[1])
    scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(scratch)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "IMBIK_CACHE": ""}
    for make in (make_data, make_recipes, make_base, make_teachers, make_runs, make_measurements, make_recommenders, keep):
        make()
    os.chdir(HERE)
    from frozen_answers import take_down

    document = {"commit": COMMIT, "version": "0.1.0"} | take_down()
    (HERE / "expected.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
