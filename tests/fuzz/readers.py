"""Every file that imbik reads: a folder that is right, the file in it that is damaged, and what reads it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from imbik.cli.app import main
from imbik.jobs.files import sha256

if TYPE_CHECKING:
    from imbik.training.state import TrainingState

FROZEN = Path(__file__).parents[1] / "frozen"
Read = Callable[[Path], object]
"""Reads in a folder; the outcome of the whole command, where it is one."""


@dataclass(frozen=True)
class Reader:
    """One file that is read.

    Attributes:
        kind: of :data:`fuzz.damage.KINDS`.
        file: its place in the folder.
        make: fills the folder with files that are right.
        read: opens it.
        sign: makes the rest of the folder agree with the damaged file, as whoever crafts one would.
    """

    kind: str
    file: str
    make: Callable[[Path], None]
    read: Read
    sign: Callable[[Path], None] = lambda path: None


def command(*arguments: str) -> Read:
    """A command in the folder; ``@name`` is a file there."""

    def read(folder: Path) -> None:
        main([str(folder / word[1:]) if word.startswith("@") else word for word in arguments])

    return read


def of_frozen(*places: str) -> Callable[[Path], None]:
    """Copies of files and folders of ``tests/frozen``, each under its last name."""

    def make(folder: Path) -> None:
        for place in places:
            source = FROZEN / place
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / source.name)

    return make


def written(**files: str | bytes) -> Callable[[Path], None]:
    """Files by name; ``__`` stands for the dot."""

    def make(folder: Path) -> None:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name.replace("__", ".")).write_bytes(data)

    return make


# ---- what is read ------------------------------------------------------------------------------------------------------------------

ROWS = [(f"where is my card {number}, please", ("card", "cash")[number % 2]) for number in range(24)]
CSV = "text,label\n" + "\n".join(f'"{text}",{label}' for text, label in ROWS) + "\n"
JSONL = "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS) + "\n"
SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ankara is the capital.",
                    "qas": [
                        {"id": str(n), "question": f"What {n}?", "answers": [{"text": "Ankara", "answer_start": 0}]} for n in range(12)
                    ],
                }
            ],
        }
    ]
}
RASA = {"rasa_nlu_data": {"common_examples": [{"text": text, "intent": label} for text, label in ROWS]}}
CONLL = "\n".join(f"Ayşe B-PER\nlives O\nin O\nIzmir{n} B-LOC\n" for n in range(12)) + "\n"
SPANS = "\n".join(json.dumps({"text": f"Ayşe lives in Izmir {n}", "spans": [{"start": 0, "end": 4, "label": "PER"}]}) for n in range(12))
RATINGS = "user,item,rating,time\n" + "\n".join(f"u{n % 5},i{n % 7},{1 + n % 5},{1_600_000_000 + n}" for n in range(35)) + "\n"
ARCHITECTURE = {
    "name": "bert-base",
    "shape": "bert-base",
    "precision": "fp32",
    "family": "bert",
    "engine": "onnx",
    "params": 1,
    "layers": 1,
    "hidden": 1,
    "heads": 1,
    "bytes": 9,
    "p50_ms": 1.0,
}
MEASURED = {
    "items_per_s": 1.0,
    "latency_ms": {"p50": 1.0},
    "peak_rss_bytes": 1,
    "cold_start_s": 1.0,
    "cpu_s_per_1000": 1.0,
    "speedup": 1.0,
    "throughput_gain": 1.0,
}
ARCHITECTURES = json.dumps({"rows": [ARCHITECTURE | MEASURED], "environment": {}})
MODULES = json.dumps([{"idx": n, "name": str(n), "path": path, "type": f"m.{n}"} for n, path in enumerate(("", "1_Pooling"))])
TOKENS = "# who may ask\nsecret-one\nsecret-two\n"
REQUEST = json.dumps({"inputs": [["where is my card"], ["bad"]], "top": 2, "truncate": True})


@cache
def parquet(kind: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: Mapping[str, list[object]] = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    if kind == "ratings":
        rows = list(csv.DictReader(io.StringIO(RATINGS)))
        columns = {"user": [r["user"] for r in rows], "item": [r["item"] for r in rows], "rating": [float(r["rating"]) for r in rows]}
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


def data(name: str, task: str | None = None) -> Read:
    def read(folder: Path) -> None:
        from imbik.data.load import load_data

        splits = load_data(folder / name, task=task, say=lambda line: None)
        assert len(splits.train.texts)

    return read


def _retrieval(folder: Path) -> None:
    for name, kind in (("corpus", "d"), ("queries", "q")):
        lines = [json.dumps({"_id": f"{kind}{number}", "text": text}) for number, (text, _) in enumerate(ROWS)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    judged = [f"q{number}\td{number}\t1" for number in range(len(ROWS))]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n", encoding="utf-8")


def texts(folder: Path) -> None:
    from imbik.data.load import load_texts

    load_texts(folder / "texts.txt", say=lambda line: None)


def checkpoint(name: str) -> Read:
    def read(folder: Path) -> None:
        from imbik.models.pretrained import load_checkpoint
        from imbik.models.teacher import Teacher

        found = Teacher.of(load_checkpoint(folder / name), "teacher")
        assert found.fingerprint

    return read


def predictions(folder: Path) -> None:
    from imbik.data.load import load_data
    from imbik.measure.predictions import check_fits, load_predictions

    check_fits(load_predictions(folder / "predictions.npz"), load_data(folder / "data", say=lambda line: None), folder / "predictions.npz")


def modules(folder: Path) -> None:
    from imbik.models.sentences.folder import side_files

    side_files(folder)


def sentences(folder: Path) -> None:
    from transformers import BertConfig

    from imbik.models.sentences.reading import sentence_folder

    sentence_folder(str(folder), BertConfig())


def _sentences(folder: Path) -> None:
    from imbik.models.checkpoint import save_checkpoint
    from imbik.testing.tiny import tiny_bert

    save_checkpoint(tiny_bert(tuple("01234567"), "embedding", layers=1, hidden=16), folder)


def _count(folder: Path) -> None:
    import numpy as np

    from imbik.trim.usage import _save_note

    _save_note(folder / "count.npz", np.arange(40), 7, 900)


def counted(folder: Path) -> None:
    from imbik.trim.usage import _noted

    _noted(folder / "count.npz", 40)


def steps(folder: Path) -> None:
    from imbik.compress.step_store import StepStore

    StepStore(folder).latest(["823dda719abdca3ccff48a85"])


def tokens(folder: Path) -> None:
    from imbik.serve.settings import read_tokens

    read_tokens(folder / "tokens.txt")


def request(folder: Path) -> None:
    from imbik.errors import UserError
    from imbik.serve.refusals import Refusal
    from imbik.serve.requests import read_predict
    from imbik.serve.settings import Limits

    body = (folder / "body.json").read_bytes() if (folder / "body.json").is_file() else b""
    try:
        read_predict(body, Limits())
    except Refusal as refusal:
        # a client's mistake has an answer of its own
        raise UserError(str(refusal.message), where="body") from None


@cache
def _made(kind: str) -> dict[str, bytes]:
    """Models that the frozen answers do not hold: a fitted recommender, n-grams with their table, a student that runs on NumPy."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "made"
        MAKERS[kind](folder)
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _recommender(folder: Path) -> None:
    from imbik.recommend.data.reading import read_ratings
    from imbik.recommend.models.registry import build

    (folder.parent / "ratings.csv").write_text(RATINGS)
    build("svd", rank=2).fit(read_ratings(folder.parent / "ratings.csv")).save(folder)


def _table(folder: Path) -> None:
    from imbik.export.linear import write_linear
    from imbik.linear.support import tfidf_svm
    from imbik.runtime.ngrams import Cut
    from imbik.testing.tiny import tiny_splits

    splits = tiny_splits()
    write_linear(tfidf_svm(splits, (Cut(2, (2, 4)),)), folder, splits, ())


def _numpy(folder: Path) -> None:
    from imbik.export.artefact import export
    from imbik.students.catalogue import make_student
    from imbik.testing.tiny import tiny_bert, tiny_splits

    splits = tiny_splits()
    student = make_student({"family": "bag", "hidden": 32}, tiny_bert(layers=1), splits.train, 0)
    export(student, "numpy", folder, texts=splits.dev)


MAKERS = {"recommender": _recommender, "table": _table, "numpy": _numpy}


def made(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "model").mkdir()
        for name, content in _made(kind).items():
            (folder / "model" / name).write_bytes(content)

    return make


def _device(folder: Path) -> None:
    RUN(folder)
    shutil.copy(folder / "results.json", folder / "device.json")


def _architectures(folder: Path) -> None:
    RUN(folder)
    (folder / "all.json").write_text(ARCHITECTURES)


def _pairs(folder: Path) -> None:
    made("recommender")(folder)
    (folder / "pairs.csv").write_text("user,item\nu1,i1\nu2,i2\n")


def _training(folder: Path) -> TrainingState:
    import torch

    from imbik.training.state import TrainingState

    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return TrainingState(folder, dict(layer.named_parameters()), optimizer, 0.0)


def _state(folder: Path) -> None:
    from imbik.training.state import State

    _training(folder).save(State())


def resumed(folder: Path) -> None:
    """A training that was stopped on its way goes on from its state."""
    _training(folder).restore()


def clock(folder: Path) -> None:
    from imbik.jobs.workspace import Clock

    assert Clock(folder / "seconds.json").total >= 0


def candidate(folder: Path) -> None:
    """What an earlier run wrote of a candidate; a damaged record is none."""
    from imbik.compress.candidate_folder import CandidateFolder

    CandidateFolder._read(SimpleNamespace(path=folder))  # type: ignore[arg-type]


def corpus(folder: Path) -> None:
    """A corpus that was tokenized before is opened, whatever its notes say."""
    from imbik.data.documents import open_documents
    from imbik.pretraining.corpus import build_blocks
    from imbik.testing.tiny import tiny_tokenizer

    if not (folder / "text.txt").exists():
        (folder / "text.txt").write_text("where is my card\n\nthe money is late\n" * 40)
    build_blocks(open_documents(folder / "text.txt"), tiny_tokenizer(), folder / "blocks", length=16)
    # the folder is named after a key: a name that stands in the list of readers leads there
    if not (folder / "packed").exists():
        (folder / "packed").symlink_to(next((folder / "blocks").iterdir()))


# ---- all of them -------------------------------------------------------------------------------------------------------------------

ASK = command("predict", "@model", "where is my card", "--json", "--threads", "1")
PREDICT = command("predict", "@onnx-float", "where is my card", "--json", "--threads", "1")


def _costs(folder: Path) -> None:
    """A table of costs as a search keeps it."""
    from imbik.pruning.table import CostFile, Shape, Table

    parts = ["one layer", "only heads 2", "only units 8"]
    table = Table([1, 2], [4, 8], {name: [0.5, 10.0, 0.25] for name in parts}, [{"layers": [0], "cost": {"ms": 1.5}}])
    CostFile(Shape("bert", 16, 1, 2, 8, 100), "onnx", 1, "dynamic", {"cpu": "x"}, table).write(folder / "costs.json")


def _read_costs(folder: Path) -> object:
    from imbik.pruning.table import CostFile

    return CostFile.read(folder / "costs.json")


RUN = of_frozen("finished/results.json", "scenario.yaml", "prices.yaml", "skipped-run/results.json")
STUDENT = "students/albert"
STEP = "823dda719abdca3ccff48a85"
STEPS = of_frozen(f"finished/.imbik/steps/{STEP}")


def artefact(kind: str, name: str, frozen: str, *asked: str) -> Reader:
    ask = command("predict", f"@{frozen}", *(asked or ("where is my card",)), "--json", "--threads", "1")
    sign = resize if name != "manifest.json" else lambda path: None
    return Reader(kind, f"{frozen}/{name}", of_frozen(f"artefacts/{frozen}"), ask, sign)


def resize(path: Path) -> None:
    """Write the size of an artefact's file into its manifest."""
    manifest = json.loads((path.parent / "manifest.json").read_text())
    if path.is_file():
        manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (path.parent / "manifest.json").write_text(json.dumps(manifest))


def resum(path: Path) -> None:
    """Write the digest of a recommender's arrays into its paper."""
    paper = json.loads((path.parent / "model.json").read_text())
    if path.is_file():
        (path.parent / "model.json").write_text(json.dumps(paper | {"sha256": sha256(path)}))


def table(kind: str, name: str, content: str | bytes, read: Read | None = None) -> Reader:
    return Reader(kind, name, written(**{name.replace(".", "__"): content}), read or data(name))


READERS: Mapping[str, Reader] = {
    "manifest": artefact("json", "manifest.json", "onnx-float"),
    "manifest of int8": artefact("json", "manifest.json", "onnx-int8"),
    "manifest of tags": artefact("json", "manifest.json", "tags"),
    "manifest of pairs": artefact("json", "manifest.json", "pairs", "my card", "--pair", "bad"),
    "tokenizer of an artefact": artefact("json", "tokenizer.json", "onnx-float"),
    "tokenizer of tags": artefact("json", "tokenizer.json", "tags"),
    "ONNX model": artefact("binary", "model.onnx", "onnx-float"),
    "OpenVINO model": artefact("text", "model.xml", "openvino-float"),
    "OpenVINO weights": artefact("binary", "model.bin", "openvino-float"),
    "n-grams": Reader("ngrams", "model/ngrams.json.gz", made("table"), ASK, resize),
    "table": Reader("npz", "model/model.npz", made("table"), ASK, resize),
    "NumPy model": Reader("npz", "model/model.npz", made("numpy"), ASK, resize),
    "config of a checkpoint": Reader("json", "albert/config.json", of_frozen(STUDENT), checkpoint("albert")),
    "record of a checkpoint": Reader("json", "albert/imbik.json", of_frozen(STUDENT), checkpoint("albert")),
    "weights of a checkpoint": Reader("safetensors", "albert/model.safetensors", of_frozen(STUDENT), checkpoint("albert")),
    "tokenizer of a checkpoint": Reader("json", "albert/tokenizer.json", of_frozen(STUDENT), checkpoint("albert")),
    "settings of a tokenizer": Reader("json", "albert/tokenizer_config.json", of_frozen(STUDENT), checkpoint("albert")),
    "config of changed layers": Reader("json", f"{STEP}/config.json", STEPS, checkpoint(STEP)),
    "weights of changed layers": Reader("safetensors", f"{STEP}/structured.safetensors", STEPS, checkpoint(STEP)),
    "finished step": Reader("json", f"{STEP}/step.json", STEPS, steps),
    "predictions": Reader("npz", "predictions.npz", of_frozen("finished/teacher/predictions.npz", "data"), predictions),
    "results": Reader("json", "results.json", RUN, command("report", "@results.json", "--out", "@report.html")),
    "results for advice": Reader("json", "results.json", RUN, command("advise", "@results.json", "--json")),
    "results for costs": Reader("json", "results.json", RUN, command("roi", "@results.json", "--requests-per-day", "1000")),
    "results of a device": Reader("json", "device.json", _device, command("advise", "@results.json", "--device", "@device.json")),
    "table of costs": Reader("json", "costs.json", _costs, _read_costs),
    "scenario": Reader("yaml", "scenario.yaml", RUN, command("advise", "@results.json", "--scenario", "@scenario.yaml")),
    "scenario of a report": Reader(
        "yaml", "scenario.yaml", RUN, command("report", "@results.json", "--scenario", "@scenario.yaml", "--out", "@report.md")
    ),
    "prices": Reader("yaml", "prices.yaml", RUN, command("roi", "@results.json", "--prices", "@prices.yaml", "--requests-per-day", "1e5")),
    "recipe": Reader("yaml", "01-structure.yaml", of_frozen("recipes/mine/01-structure.yaml"), command("recipes", "@01-structure.yaml")),
    "recipe of a student": Reader(
        "yaml", "03-mobile.yaml", of_frozen("recipes/mine/03-mobile.yaml"), command("recipes", "@03-mobile.yaml")
    ),
    "architectures": Reader(
        "json", "all.json", _architectures, command("report", "@results.json", "--architectures", "@all.json", "--out", "@report.html")
    ),
    "CSV": table("csv", "rows.csv", CSV),
    "TSV": table("csv", "rows.tsv", CSV.replace(",", "\t")),
    "packed CSV": table("binary", "rows.csv.gz", gzip.compress(CSV.encode())),
    "JSON lines": table("lines", "rows.jsonl", JSONL),
    "JSON rows": table("json", "rows.json", json.dumps([json.loads(line) for line in JSONL.splitlines()])),
    "SQuAD": table("json", "rows.json", json.dumps(SQUAD), data("rows.json", "question-answering")),
    "Rasa": table("json", "rows.json", json.dumps(RASA)),
    "documents": Reader("lines", "corpus.jsonl", _retrieval, data("", "embedding")),
    "judgments": Reader("csv", "qrels.tsv", _retrieval, data("", "embedding")),
    "CoNLL": table("tagged", "rows.conll", CONLL),
    "spans": table("lines", "rows.jsonl", SPANS),
    "Parquet": table("parquet", "rows.parquet", parquet("texts")),
    "texts": table("text", "texts.txt", "one\ntwo\nthree\n", texts),
    "ratings": table("csv", "ratings.csv", RATINGS, command("recommend", "fit", "@ratings.csv", "--model", "biases", "--out", "@out")),
    "ratings in Parquet": table(
        "parquet",
        "ratings.parquet",
        parquet("ratings"),
        command("recommend", "fit", "@ratings.parquet", "--model", "biases", "--out", "@out"),
    ),
    "pairs": Reader("csv", "pairs.csv", _pairs, command("recommend", "predict", "@model", "--file", "@pairs.csv", "--cold")),
    "paper of a recommender": Reader(
        "json", "model/model.json", made("recommender"), command("recommend", "predict", "@model", "--user", "u1", "--item", "i1")
    ),
    "arrays of a recommender": Reader(
        "safetensors", "model/arrays.safetensors", made("recommender"), command("recommend", "top", "@model", "--user", "u1"), resum
    ),
    "tokens": table("text", "tokens.txt", TOKENS, tokens),
    "request": table("json", "body.json", REQUEST, request),
    "blocks of a corpus": Reader("json", "packed/blocks.json", corpus, corpus),
    "tokens of a corpus": Reader("binary", "packed/blocks.bin", corpus, corpus),
    "record of a candidate": Reader("json", "candidate.json", of_frozen("finished/nmf/candidate.json"), candidate),
    "modules of sentence-transformers": Reader("json", "modules.json", written(modules__json=MODULES), modules),
    "pooling of sentence-transformers": Reader("json", "1_Pooling/config.json", _sentences, sentences),
    "matrix of sentence-transformers": Reader("safetensors", "2_Dense/model.safetensors", _sentences, sentences),
    "length of sentence-transformers": Reader("json", "sentence_bert_config.json", _sentences, sentences),
    "count of word pieces": Reader("npz", "count.npz", _count, counted),
    "seconds of a step": Reader("json", "seconds.json", written(seconds__json='{"seconds": 3.5}'), clock),
    "state of a training": Reader("safetensors", "state.safetensors", _state, resumed),
}
