"""Messages: every sentence that a user may read has its Turkish, is found again by it, and comes out of every command in Turkish."""

from __future__ import annotations

import ast
import re
from string import Formatter

import pytest
from message_templates import ROOT, House, as_yaml, is_sentence, missing
from pydantic import BaseModel, Field

from imbik.errors import UserError
from imbik.jobs.validated import parse_yaml, validated
from imbik.locale.catalogue import with_marks
from imbik.locale.language import speaking, told, translated
from imbik.locale.messages import Messages, catalogue, messages, sections

FOREIGN = ("typer", "pydantic", "yaml", "heads")  # whose English is another library's, or a word that stands somewhere in the source
PRINTERS = ("print", "typer.echo", "typer.prompt", "sys.stdout.write", "sys.stderr.write")
PLACE = re.compile(r"{(\d+)(?::([^}]*))?}")


class _Pair(BaseModel):
    of: tuple[str, ...] = Field(min_length=2, max_length=2)


@pytest.fixture(scope="module")
def house() -> dict[str, str]:
    return House().templates()


@pytest.fixture(scope="module")
def turkish() -> Messages:
    return messages("tr")


def _places(template: str) -> list[tuple[str, str]]:
    return [(str(name), spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None]


def _filled(template: str) -> tuple[str, list[str]]:
    """A template with values, and the values as Turkish shows them."""
    values = [format(1234.5 if spec[-1:] in "fge%" else 1234, spec) if spec else f"w{name}w" for name, spec in _places(template)]
    return template.format(*values) if not any(s for _, s in _places(template)) else _put(template, values), values


def _put(template: str, values: list[str]) -> str:
    return (
        PLACE.sub(lambda place: values[int(place[1])], template.replace("{{", "\0").replace("}}", "\1"))
        .replace("\0", "{")
        .replace("\1", "}")
    )


def test_every_sentence_of_the_source_has_its_turkish() -> None:
    found = missing(catalogue())
    assert not found, (
        f"{len(found)} sentences that users read have no Turkish. Put these lines into src/imbik/locale/messages.yaml, each with its "
        f"Turkish (same places, natural prose; CONTRIBUTING.md, 'Messages'):\n{as_yaml(found)}"
    )


def test_nothing_in_the_catalogue_is_of_no_use(house: dict[str, str]) -> None:
    stale = [english for name, known in sections().items() if name not in FOREIGN for english in known if english not in house]
    source = "".join(path.read_text("utf-8") for path in ROOT.rglob("*.py"))
    stale += [head for head in sections()["heads"] if f'"{head}"' not in source]
    assert not stale, "no code says these any more; take them out of src/imbik/locale/messages.yaml:\n" + "\n".join(stale)


def test_both_languages_have_the_same_places() -> None:
    wrong = [english for english, other in catalogue().items() if {n for n, _ in _places(english)} != {n for n, _ in _places(other)}]
    assert not wrong
    assert not [english for english, other in catalogue().items() if any(spec for _, spec in _places(other))], (
        "the format stands in the English"
    )


def test_every_sentence_finds_its_own_template_and_no_other(turkish: Messages) -> None:
    wrong = []
    for english, other in catalogue().items():
        text, values = _filled(english)
        shown = [with_marks(v, "tr") if spec else v for v, (_, spec) in zip(values, _places(english), strict=True)]
        said = turkish.error(UserError(text))
        if said.rstrip(".") != _put(other, shown).rstrip("."):
            wrong.append((english, said))
    assert not wrong, "\n".join(f"{english!r} is taken for another: {said!r}" for english, said in wrong)


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("2,421 tokens of the student in 1,003 rows", "öğrencide 1.003 satırda 2.421 belirteç"),  # numbers of ours
        ("layers-3: finished earlier", "layers-3: daha önce bitmişti"),
        # an error of a worker in the failure of a candidate
        (
            "layers-3 failed: train.csv: no column 'label'. Found: text. Expected: onnx or numpy. Do: name it with --label COLUMN.",
            "layers-3 başarısız oldu: train.csv: 'label' adlı sütun yok. Bulunan: text. Beklenen: onnx ya da numpy. "
            "Çözüm: --label COLUMN ile belirtin.",
        ),
        ("25 of 3,080 test texts also stand in train", "3.080 test metninden 25 tanesi eğitim kümesinde de var"),  # a note
        ("a.csv: column guessed by a later version", "a.csv: column guessed by a later version"),  # none of ours
        ("text", "metin"),
    ],
)
def test_a_sentence_is_said_with_all_that_is_in_it(english: str, expected: str) -> None:
    assert translated(english) == english
    with speaking("tr"):
        assert translated(english) == expected


def test_words_of_users_stay() -> None:
    error = UserError("no column 'score'", where="score", found="text, score", expected="'uniform', 'top' or greater than or equal to 1")
    with speaking("tr"):
        assert told(error) == ("score: 'score' adlı sütun yok. Bulunan: text, score. Beklenen: 'uniform', 'top' ya da en az 1.")
        assert told(UserError("no such folder", where="model", found="model")) == "model: böyle bir klasör yok. Bulunan: model."


def test_a_sentence_that_is_put_together_from_parts_is_said_whole() -> None:
    """What the source makes of a conditional and of a loop is a template each."""
    found = House().templates()
    assert {
        "only in the data: {0}",
        "unknown user",
        "unknown item",
        "package not installed",
        "{0} different labels in {1} rows",
    } <= found.keys()
    assert is_sentence("no rows") and not is_sentence("imbik roi") and not is_sentence("onnx")


def test_no_line_reaches_a_user_beside_the_catalogue() -> None:
    """Text is printed through ``cli/speech.py``; typer.echo, print and a stream are for JSON, files and what is in the language already."""
    beside = []
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in ("testing", "locale") or path.name == "speech.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "typer.echo",
                "sys.stdout.write",
                "sys.stderr.write",
                "typer.prompt",
            ):
                words = [
                    n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str) and " " in n.value.strip()
                ]
                if words and "texts(" not in ast.unparse(node):
                    beside.append(f"{path.relative_to(ROOT)}:{node.lineno}: {words}")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Console" and path.parent.name != "report":
                beside.append(f"{path.relative_to(ROOT)}:{node.lineno}: a console of rich; take imbik.cli.speech.Speaker")
    assert not beside, "\n".join(beside)


@pytest.mark.parametrize(
    "text", ["a: b: c", "[a, b", "{a: b", "a: 'x", "\ta: b", "a: *x", "- a\nb: c", "a: 1\n---\nb: 2", "a: b\na: c", "a: !foo b"]
)
def test_a_mistake_in_a_yaml_file_is_told_in_turkish(text: str, turkish: Messages) -> None:
    with pytest.raises(UserError) as told_of:
        parse_yaml(text, "x.yaml")
    assert not re.search(r"\b(found|expected|not|here|key|document|tag)\b", turkish.error(told_of.value).removeprefix("x.yaml"))


@pytest.mark.parametrize("value", [[], [1, 2, 3], "a", None])
def test_a_list_of_another_length_is_told_in_turkish(value: object, turkish: Messages) -> None:
    with pytest.raises(UserError) as told_of:
        validated(_Pair, {"of": value}, "x.yaml")
    assert not re.search(r"\b(should|item|items|list|string)\b", turkish.error(told_of.value))
