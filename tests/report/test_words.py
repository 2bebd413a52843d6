"""What a report says in words: notes, shortfalls, cautions and what was not measured, in both languages."""

from __future__ import annotations

import ast
import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import plausible
import pytest
import yaml

import imbik
from imbik.advise.choice import choose
from imbik.locale.phrases import Phrases
from imbik.measure.results import Results
from imbik.report.render import write_report

ROOT = Path(imbik.__file__).parent


def test_what_was_not_measured_is_left_open(tmp_path: Path) -> None:
    run = plausible.results()
    bare = replace(run.measurements[5], id="bare/onnx", name="bare", latency_ms={}, throughput={}, quality={}, dev_quality={},
                   retention=None, per_class=None, peak_rss_bytes=None, cold_start_s=None, cpu_s_per_1000=None, bytes=None,
                   params=None, parity=None, calibration=None, architecture={})  # fmt: skip
    changed = replace(run, measurements=(*run.measurements, bare))
    for name in ("r.html", "r.md"):
        write_report(changed, tmp_path / name)
        assert "bare/onnx" in (tmp_path / name).read_text("utf-8")


NOTES = {
    "9 products with a weight stayed in float": "ağırlıklarla yapılan 9 çarpım kayan noktalı kaldı",
    "dev: 1,000 rows carved from train (stratified, seed 0)": "geliştirme: 1.000 satır eğitim kümesinden ayrıldı (tabakalı, rastgelelik"
    " tohumu 0)",
    "cluster: 16 values a matrix; this saves bytes in the file and not time, "
    "since the engine unpacks the matrices when it opens the file": (
        "kümeleme: matris başına 16 değer; dosya küçülür, süre kısalmaz, çünkü motor dosyayı açarken matrisleri eski biçimine getirir"
    ),
    "put back to float to keep quality: /layer.0/MatMul, /pooler/Gemm": (
        "başarımı korumak için yeniden kayan noktalı yapılanlar: /layer.0/MatMul, /pooler/Gemm"
    ),
    "keeps 96.2% on dev, 97.0% asked, whatever is put back to float": (
        "hangi işlem kayan noktalı bırakılırsa bırakılsın geliştirme kümesinde en çok %96,2 korunuyor; istenen %97,0"
    ),
    "a stranger's note on 1,000 things": "a stranger's note on 1,000 things",
}


@pytest.mark.parametrize("suffix", ["html", "md"])
@pytest.mark.parametrize("lang", ["en", "tr"])
def test_notes_and_reverted_operators_are_shown_in_the_readers_language(tmp_path: Path, suffix: str, lang: str) -> None:
    run = plausible.results()
    noted = replace(run.measurements[5], notes=tuple(NOTES), parity={"agreement": 1.0, "reverted": ["/layer.0/MatMul", "/pooler/Gemm"]})
    changed = tuple(noted if m.id == noted.id else m for m in run.measurements)
    out = tmp_path / f"r.{suffix}"
    failures = ({"name": "late", "error": "not started: the 0.5 minutes were used up"},)
    write_report(replace(run, measurements=changed, failures=failures), out, lang=lang)
    assert ("ayrılan 0,5 dakika doldu" if lang == "tr" else "the 0.5 minutes were used up") in out.read_text("utf-8")
    text = html.unescape(out.read_text("utf-8"))
    for note, turkish in NOTES.items():
        assert (turkish if lang == "tr" else note) in text
    assert text.count("/layer.0/MatMul, /pooler/Gemm") == (2 if suffix == "html" else 1)  # the note, and the table of parity


def _notes_written() -> list[str]:
    """Every text that the library puts into ``notes`` or calls a note, with a number where it puts a value."""
    found = []
    for path in (p for p in ROOT.rglob("*.py") if "recommend" not in p.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("notes.append", "reading.note"):
                found.append(node.args[0])
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "note":
                found.append(node.value)
            if isinstance(node, ast.FunctionDef) and node.name == "_note":
                found += [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value is not None]
    return [
        _example(node) for node in found if isinstance(node, ast.JoinedStr | ast.Constant) or isinstance(getattr(node, "op", None), ast.Add)
    ]


def _example(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _example(node.left) + _example(node.right)
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "train" if "origin" in ast.unparse(p) else "7" for p in parts)


def test_every_note_of_ours_can_be_said_in_turkish() -> None:
    written = _notes_written()
    assert len(written) >= 16
    texts = Phrases("tr")
    assert [note for note in written if texts.note(note) == note] == []


def test_a_choice_for_single_requests_and_one_for_batches(tmp_path: Path) -> None:
    run = plausible.results()
    for batch in ("int8/onnx", {"id": "int8/onnx"}):
        choice = {**run.choice, "single": run.choice["id"], "batch": batch}
        write_report(replace(run, choice=choice), tmp_path / "r.md", lang="tr")
        assert "Tek isteklerde en hızlısı layers-1+int8/onnx, toplu işlemede int8/onnx." in (tmp_path / "r.md").read_text("utf-8")


def test_a_choice_that_names_nobody_is_made_again(tmp_path: Path) -> None:
    run = plausible.results()
    write_report(replace(run, choice={"id": None, "meets": False, "why": "?"}), tmp_path / "r.md")
    assert "The choice is layers-1+int8/onnx" in (tmp_path / "r.md").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_profiles_that_were_used_are_named(tmp_path: Path, suffix: str) -> None:
    run = plausible.results()
    profile = Results("classification", {}, {"cpu": "Small CPU"}, None, (run.measurements[5],), path=Path("phone.json"))
    other = replace(profile, data={"labels": ["another", "task"]}, path=Path("elsewhere.json"))
    write_report(run, tmp_path / f"r.{suffix}", devices=[profile, other])
    text = (tmp_path / f"r.{suffix}").read_text("utf-8")
    assert "phone.json, Small CPU" in text
    assert "elsewhere.json" not in text


def test_nothing_meets_the_limits_is_said(tmp_path: Path) -> None:
    run = plausible.results()
    choice = choose(run.measurements, run.baseline, min_retention=0.99, max_mb=10)
    for lang, words in (("en", "Nothing meets the limits"), ("tr", "Hiçbir aday sınırları karşılamıyor")):
        write_report(replace(run, choice=choice), tmp_path / "r.html", lang=lang)
        assert words in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_a_busy_machine_and_a_teacher_that_knows_dev_are_said(tmp_path: Path, suffix: str) -> None:
    run = plausible.results()
    first, *rest = run.measurements
    knows = replace(first, dev_quality={"metric": "accuracy", "value": 0.987})
    out = tmp_path / f"r.{suffix}"
    write_report(replace(run, measurements=(knows, *rest), environment={"load": 4.3, "cores": 2}), out)
    assert {"learned the dev rows", "machine was busy"} <= {w for w in ("learned the dev rows", "machine was busy") if w in out.read_text()}
    write_report(run, out)
    assert "learned the dev rows" not in out.read_text()


def test_languages_have_the_same_texts() -> None:
    def flat(node: Any, prefix: str = "") -> dict[str, str]:
        if not isinstance(node, dict):
            return {prefix: str(node)}
        return {k: v for key, child in node.items() for k, v in flat(child, f"{prefix}.{key}").items()}

    english, turkish = (flat(yaml.safe_load((ROOT / "locale" / f"{x}.yaml").read_text("utf-8"))) for x in ("en", "tr"))
    assert set(english) == set(turkish)
    for key, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", turkish[key])), key


def test_turkish_casing_is_left_to_the_text() -> None:
    assert "text-transform" not in (ROOT / "report" / "templates" / "report.css").read_text("utf-8")
