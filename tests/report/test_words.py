"""What a report says in words: notes, shortfalls, cautions and what was not measured, in both languages."""

from __future__ import annotations

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
from imbik.locale.notes import sentence
from imbik.measure.measurement import Measurement, Parity, Quality
from imbik.measure.results import Results
from imbik.measure.values import Choice, Data, Environment, Failure, Limits, Use
from imbik.report.render import write_report
from imbik.report.terminal import caution_line
from imbik.types import Note

ROOT = Path(imbik.__file__).parent


def test_what_was_not_measured_is_left_open(tmp_path: Path) -> None:
    run = plausible.results()
    bare = Measurement(id="bare/onnx", name="bare", engine="onnx")
    changed = replace(run, measurements=(*run.measurements, bare))
    for name in ("r.html", "r.md"):
        write_report(changed, tmp_path / name)
        assert "bare/onnx" in (tmp_path / name).read_text("utf-8")


NOTES = (
    (Note.of("float_left", count=9), "ağırlıklarla yapılan 9 çarpım kayan noktalı kaldı"),
    (
        Note.of("carved_train", split="dev", count=1000, seed=0),
        "doğrulama: 1.000 satır eğitim kümesinden ayrıldı (tabakalı, rastgelelik tohumu 0)",
    ),
    (
        Note.of("cluster", count=16),
        "kümeleme: matris başına 16 değer; dosya küçülür, süre kısalmaz, çünkü motor dosyayı açarken matrisleri eski biçimine getirir",
    ),
    (
        Note.of("reverted", names=("/layer.0/MatMul", "/pooler/Gemm")),
        "başarımı korumak için yeniden kayan noktalı yapılanlar: /layer.0/MatMul, /pooler/Gemm",
    ),
    (
        Note.of("below", kept=0.962, asked=0.97),
        "hangi işlem kayan noktalı bırakılırsa bırakılsın doğrulama kümesinde en çok %96,2 korunuyor; istenen %97,0",
    ),
    (Note.text("a stranger's note on 1,000 things"), "a stranger's note on 1,000 things"),
)


@pytest.mark.parametrize("suffix", ["html", "md"])
@pytest.mark.parametrize("lang", ["en", "tr"])
def test_notes_and_reverted_operators_are_shown_in_the_readers_language(tmp_path: Path, suffix: str, lang: str) -> None:
    run = plausible.results()
    parity = Parity(agreement=1.0, reverted=("/layer.0/MatMul", "/pooler/Gemm"))
    noted = replace(run.measurements[5], notes=tuple(note for note, _ in NOTES), parity=parity)
    changed = tuple(noted if m.id == noted.id else m for m in run.measurements)
    out = tmp_path / f"r.{suffix}"
    failures: tuple[Failure, ...] = ({"name": "late", "error": "too late", "note": Note.of("not_started", minutes=0.5)},)
    write_report(replace(run, measurements=changed, failures=failures), out, lang=lang)
    assert ("ayrılan 0,5 dakika doldu" if lang == "tr" else "the 0.5 minutes were used up") in out.read_text("utf-8")
    text = html.unescape(out.read_text("utf-8"))
    for note, turkish in NOTES:
        assert (turkish if lang == "tr" else sentence(note)) in text
    assert text.count("/layer.0/MatMul, /pooler/Gemm") == (2 if suffix == "html" else 1)  # the note, and the table of parity


def test_a_choice_for_single_requests_and_one_for_batches(tmp_path: Path) -> None:
    run = plausible.results()
    choice = replace(run.choice, batch=Use("int8/onnx", items_per_s=906.0))
    write_report(replace(run, choice=choice), tmp_path / "r.md", lang="tr")
    assert "Tek isteklerde en hızlısı layers-1+int8/onnx, toplu işlemede int8/onnx." in (tmp_path / "r.md").read_text("utf-8")


def test_a_choice_that_names_nobody_is_made_again(tmp_path: Path) -> None:
    run = plausible.results()
    write_report(replace(run, choice=Choice(id=None, meets=False, why="?")), tmp_path / "r.md")
    assert "The choice is layers-1+int8/onnx" in (tmp_path / "r.md").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_profiles_that_were_used_are_named(tmp_path: Path, suffix: str) -> None:
    run = plausible.results()
    profile = Results(environment=Environment(cpu="Small CPU"), measurements=(run.measurements[5],), path=Path("phone.json"))
    other = replace(profile, data=Data(labels=("another", "task")), path=Path("elsewhere.json"))
    write_report(run, tmp_path / f"r.{suffix}", devices=[profile, other])
    text = (tmp_path / f"r.{suffix}").read_text("utf-8")
    assert "phone.json, Small CPU" in text
    assert "elsewhere.json" not in text


def test_nothing_meets_the_limits_is_said(tmp_path: Path) -> None:
    run = plausible.results()
    choice = choose(run.measurements, run.baseline, Limits(min_retention=0.99, max_mb=10))
    for lang, words in (("en", "Nothing meets the limits"), ("tr", "Hiçbir aday sınırları karşılamıyor")):
        write_report(replace(run, choice=choice), tmp_path / "r.html", lang=lang)
        assert words in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_a_busy_machine_and_a_teacher_that_knows_dev_are_said(tmp_path: Path, suffix: str) -> None:
    run = plausible.results()
    first, *rest = run.measurements
    knows = replace(first, dev_quality=Quality(0.987, metric="accuracy"))
    out = tmp_path / f"r.{suffix}"
    write_report(replace(run, measurements=(knows, *rest), environment=Environment(load=4.3, cores=2)), out)
    assert {"learned the dev rows", "machine was busy"} <= {w for w in ("learned the dev rows", "machine was busy") if w in out.read_text()}
    write_report(run, out)
    assert "learned the dev rows" not in out.read_text()


@pytest.mark.parametrize(("rounds", "said"), [((535.7, 37.1, 42.2), True), ((50.0, 40.0, 26.0), False)])
def test_rounds_that_disagree_are_said(tmp_path: Path, rounds: tuple[float, ...], said: bool) -> None:
    """A machine that was disturbed for some rounds gave figures that look like a fourteenth of the speed."""
    run = plausible.results()
    first, *rest = run.measurements
    changed = replace(run, measurements=(replace(first, throughput=replace(first.throughput, rounds=rounds)), *rest))
    for lang, words in (("en", "14.4x as fast as its slowest"), ("tr", "en yavaşından 14,4 kat hızlıydı")):
        write_report(changed, tmp_path / "r.md", lang=lang)
        assert (words in (tmp_path / "r.md").read_text("utf-8")) == said
        line = caution_line(changed, lang)
        assert (line is not None and words in line and first.id in line) == said


def test_languages_have_the_same_texts() -> None:
    def flat(node: Any, prefix: str = "") -> dict[str, str]:
        if not isinstance(node, dict):
            return {prefix: str(node)}
        return {k: v for key, child in node.items() for k, v in flat(child, f"{prefix}.{key}").items()}

    english, turkish = (flat(yaml.safe_load((ROOT / "locale" / f"{x}.yaml").read_text("utf-8"))) for x in ("en", "tr"))
    assert set(english) == set(turkish)
    for key, text in english.items():
        assert set(re.findall(r"{[^}]+}", text)) == set(re.findall(r"{[^}]+}", turkish[key])), key


def test_turkish_casing_is_left_to_the_text() -> None:
    assert "text-transform" not in (ROOT / "report" / "templates" / "report.css").read_text("utf-8")
