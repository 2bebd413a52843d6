"""``--lang tr`` before and behind every command: help, mistakes of typing, mistakes in files; English is untouched."""

from __future__ import annotations

import re

import pytest

from imbik.cli.app import build_app, main
from imbik.locale.language import asked_language, language, speaking

ENGLISH = re.compile(r"\b(the|not|with|this|that|from|which|such|are|given|found|expected|usage|missing|invalid)\b", re.IGNORECASE)
COMMANDS = [
    "demo",
    "finetune",
    "compress",
    "cascade",
    "recipes",
    "export",
    "predict",
    "serve",
    "measure",
    "advise",
    "roi",
    "report",
    "search",
]
COMMANDS += ["compare-architectures", "recommend", "recommend fit", "recommend top", "recommend compare"]


def _run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    out = capsys.readouterr()
    return int(stopped.value.code or 0), out.out + out.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_turkish(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, text = _run(capsys, f"{command} --help --lang tr")
    assert code == 0
    assert "Kullanım: " in text and "Seçenekler" in text and "Bu yardımı gösterip durur." in text
    prose = re.sub(r"[\w./:<>|-]*[/._<>|-][\w./:<>|-]*|\[.*?\]", " ", text)  # options, files, types
    assert not ENGLISH.findall(prose), ENGLISH.findall(prose)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("compress", "'--teacher' seçeneği eksik."),
        ("export", "'checkpoint' değeri eksik."),
        ("compres", "'compres' adlı bir komut yok. 'compress' mi demek istediniz?"),
        ("roi --bogus", "Böyle bir seçenek yok: --bogus"),
        ("roi --mode", "'--mode' seçeneği bir değer ister."),
        ("roi x --limit-ms abc", "'--limit-ms' için geçersiz değer: bir sayı olmalı"),
        ("roi nosuch.json --requests-per-day 10", "hata: nosuch.json: böyle bir dosya yok. Beklenen: imbik compress"),
        ("roi nosuch.json --requests-per-day 1.000", "gruplanmış rakamlar iki türlü okunabilir. Bulunan: 1.000."),
        ("recipes nosuch", "hata: böyle bir tarif yok. Bulunan: 'nosuch'. Beklenen: YAML dosyası"),
        ("predict nosuch hi", "hata: nosuch: böyle bir paket klasörü yok."),
        ("report a.json --out b.pdf", "hata: --out: rapor bir HTML sayfası ya da Markdown dosyasıdır."),
        ("recommend top nosuch --user 1", "hata: nosuch: bu klasörde model yok."),
    ],
)
def test_mistakes_are_told_in_turkish(line: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for asked in (f"--lang tr {line}", f"{line} --lang=tr"):
        if line == "roi --mode" and asked.endswith("=tr"):
            continue  # the option would take it as its value
        code, text = _run(capsys, asked)
        assert code == 2
        assert said in " ".join(text.split()), text
        assert not ENGLISH.findall(re.sub(r"\S+\.(json|pdf)", "", text)), text


def test_the_environment_asks_too_and_an_option_has_the_last_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMBIK_LANG", "tr")
    assert "hata: " in _run(capsys, "recipes nosuch")[1]
    assert "error: " in _run(capsys, "recipes nosuch --lang en")[1]
    monkeypatch.setenv("IMBIK_LANG", "fr")
    assert _run(capsys, "recipes") == (2, "error: IMBIK_LANG: no such language. Found: fr. Expected: en or tr.\n")
    assert language() == "en"


def test_a_mistake_of_typing_leaves_no_language_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "compress --lang tr --nosuch")[0] == 2 and language() == "en"
    left_open = speaking("tr")
    with speaking("en"):
        left_open.__enter__()
    assert language() == "en"
    with speaking("tr"):
        left_open.__exit__(None, None, None)  # as the collector of garbage does, later
        assert language() == "tr"


def test_the_system_s_language_changes_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LANGUAGE"):
        monkeypatch.setenv(name, "tr_TR.UTF-8")
    assert "error: no such recipe" in _run(capsys, "recipes nosuch")[1]
    assert asked_language([], {"LANG": "tr_TR.UTF-8"}) == "en"


def test_every_command_takes_the_option() -> None:
    import typer

    def leaves(command: object) -> list[object]:
        inner = getattr(command, "commands", {})
        return [leaf for one in inner.values() for leaf in leaves(one)] if inner else [command]

    for command in leaves(typer.main.get_command(build_app())):
        assert "--lang" in {option for parameter in command.params for option in parameter.opts}, command.name  # type: ignore[attr-defined]


def test_an_unknown_language_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "recipes --lang de") == (2, "error: --lang: no such language. Found: de. Expected: en or tr.\n")
