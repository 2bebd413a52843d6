"""Notes: every kind has its sentence in both languages, every producer fills it, and the sentences of schema 1 are still understood."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import imbik
from imbik.images.decode import CHANGES
from imbik.locale.catalogue import LANGUAGES, texts
from imbik.locale.notes import document, read, sentence
from imbik.types import Note

ROOT = Path(imbik.__file__).parent
KINDS = {key.removeprefix("note."): text for key, text in texts("en").items() if key.startswith("note.")}
FIELD = re.compile(r"{(\w+)")


def _produced() -> list[tuple[str, frozenset[str], str]]:
    """(kind, names of the values, place) of every note that the library makes under a literal kind."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Note.of" and isinstance(node.args[0], ast.Constant):
                values = frozenset(str(keyword.arg) for keyword in node.keywords)
                found.append((str(node.args[0].value), values, f"{path.name}:{node.lineno}"))
    return found


def test_every_note_that_is_made_has_a_sentence_whose_placeholders_it_fills() -> None:
    made = _produced()
    assert len(made) >= 30
    for kind, values, place in made:
        assert kind in KINDS, place
        assert values == set(FIELD.findall(KINDS[kind])), place
    computed = {"carved_train", "carved_file", *(f"choice_lacks_{name}" for name in ("retention", "latency_p95_ms", "megabytes"))}
    computed |= {"prune", "prune_repaired", "prune_unrepaired", "prune_fixed_heads", "prune_fixed_units"}
    computed |= {f"image_{change}" for change in CHANGES}
    assert {kind for kind, *_ in made} | computed | {"text"} == set(KINDS), "a sentence that nobody says"


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"text"}))
def test_every_kind_is_said_differently_in_both_languages(kind: str) -> None:
    values = {name: "dev" if name == "split" else 0.25 if spec else 7 for name, spec in re.findall(r"{(\w+)(:\.\d[f%])?", KINDS[kind])}
    said = [sentence(Note(kind, values), lang) for lang in LANGUAGES]
    assert said[0] != said[1]
    assert not [text for text in said if "{" in text]


@pytest.mark.parametrize(
    ("note", "english", "turkish"),
    [
        (Note.of("in_train", count=25, total=3080, split="test"), "25 of 3,080 test texts", "3.080 test metninden 25 tanesi"),
        (Note.of("below", kept=0.962, asked=0.97), "keeps 96.2% on dev, 97.0% asked", "%96,2 korunuyor; istenen %97,0"),
        (Note.of("slower", own=2.104, parent=1.9), "2.10 ms against 1.90 ms", "2,10 ms, nicelenmemişi 1,90 ms"),
        (Note.of("reverted", names=("/a/MatMul", "/b/Gemm")), "/a/MatMul, /b/Gemm", "/a/MatMul, /b/Gemm"),
    ],
)
def test_numbers_have_the_marks_of_the_language(note: Note, english: str, turkish: str) -> None:
    assert english in sentence(note, "en")
    assert turkish in sentence(note, "tr")


SCHEMA_1 = {
    "25 of 3,080 test texts also stand in train": Note.of("in_train", count=25, total=3080, split="test"),
    "dev: 1,000 rows carved from train (stratified, seed 0)": Note.of("carved_train", split="dev", count=1000, seed=0),
    "keeps 96.2% on dev, 97.0% asked, whatever is put back to float": Note.of("below", kept=0.962, asked=0.97),
    "low_rank (svd): 12 of 13 matrices of the encoder factorised, ranks 8 to 64; 50.0% of their numbers left": Note.of(
        "low_rank", method="svd", count=12, total=13, least=8, most=64, left=0.5
    ),
    "embedding: table of 100 x 32 as 100 x 8 and 8 x 32, 33.0% of its numbers left": Note.of(
        "embedding", rows=100, width=32, rank=8, left=0.33
    ),
    "embedding: table 100 x 32 as 100 x 8 and 8 x 32, 33.0% of it": Note.of("embedding", rows=100, width=32, rank=8, left=0.33),
    "the teacher scores 0.9870 on dev and 0.9000 on test: it has seen the dev rows, or dev is more like train than test is; retention on "
    "dev, which the choice goes by, may not hold on test; a dev file like the test file mends it": Note.of("easy_dev", dev=0.987, test=0.9),
    "not started: the 0.5 minutes were used up": Note.of("not_started", minutes=0.5),
    "ran on a GPU (An Imitated GPU) in bf16; it needs that and PyTorch: shown, never chosen": Note.of(
        "cuda", device="An Imitated GPU", precision="bf16"
    ),
    "a stranger's note, quantised by hand": Note.text("a stranger's note, quantised by hand"),
    "my model was not measured.": Note.text("my model was not measured."),
}


@pytest.mark.parametrize("text", SCHEMA_1)
def test_a_sentence_of_schema_1_is_recognized(text: str) -> None:
    assert read(text) == SCHEMA_1[text]


@pytest.mark.parametrize("note", SCHEMA_1.values())
def test_what_is_written_reads_back(note: Note) -> None:
    assert read(document(note)) == note
    assert document(note)["text"] == sentence(note)


def test_a_note_of_a_later_version_says_its_english_text() -> None:
    later = read({"kind": "quantum", "values": {"count": 3}, "text": "3 states collapsed"})
    assert [sentence(later, lang) for lang in LANGUAGES] == ["3 states collapsed"] * 2
    changed = read({"kind": "in_train", "values": {"rows": 3}, "text": "3 rows of train again"})
    assert sentence(changed, "tr") == "3 rows of train again"
