"""A page answers as Python does: its tokenizer in Node against `tokenizers`, and the whole of it in Chromium with the network off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.page.browser import browsing, chromium  # noqa: E402
from benchmarks.page.texts import texts  # noqa: E402
from imbik.cli.app import main  # noqa: E402
from imbik.data import bundled_base  # noqa: E402
from imbik.errors import UserError  # noqa: E402
from imbik.page import facts, write  # noqa: E402
from imbik.page.write import RUNTIME, WASM, write_page  # noqa: E402
from imbik.runtime.predictor import load_artefact  # noqa: E402

FROZEN = ROOT / "tests" / "frozen" / "artefacts"
RUNTIME_FOLDER = Path(os.environ.get("IMBIK_ONNXRUNTIME_WEB", "node_modules/onnxruntime-web/dist"))
node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
ASK = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const { Tokenizer } = await import(pathToFileURL(process.argv[1]));
const { facts, asked } = JSON.parse(readFileSync(0, "utf8")), tokenizer = new Tokenizer(facts);
console.log(JSON.stringify(asked.map((text) => tokenizer.ids(text))));
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder with the names of onnxruntime-web's files."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in (RUNTIME, WASM):
        (folder / name).write_bytes(b"code")
    return folder


@pytest.fixture
def latin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of Unicode alone, which takes no time."""
    monkeypatch.setattr(facts, "_PLANES", (range(0x3000), range(0xE000, 0xE010), range(0xFE00, 0x10000), range(0xE0000, 0xE0100)))


def ids_in_node(known: dict[str, Any], asked: list[str]) -> list[list[int]]:
    script = Path(write.__file__).parent / "templates" / "model.mjs"
    given = json.dumps({"facts": known, "asked": asked})
    done = subprocess.run(
        ["node", "--input-type=module", "-e", ASK, str(script)], input=given, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    found: list[list[int]] = json.loads(done.stdout)
    return found


def ids_in_python(folder: Path, asked: list[str], length: int, side: str) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length, direction=side)
    return [tokenizer.encode(text.encode("utf-8", "replace").decode()).ids for text in asked]


@node
@pytest.mark.parametrize(("length", "side"), [(256, "right"), (8, "left")])
def test_ids_are_those_of_the_tokenizer(latin: None, length: int, side: str) -> None:
    asked = texts([["where is my card", "Kartım çalındı, ne yapmalıyım?"]])
    folder = Path(bundled_base())
    known = facts.tokenizer_facts(folder, {"max_length": length, "truncation_side": side})
    assert ids_in_node(known, asked) == ids_in_python(folder, asked, length, side)


@pytest.mark.slow
@node
def test_every_character_of_unicode_is_read_as_the_tokenizer_reads_it() -> None:
    folder = Path(bundled_base())
    asked = [f"a{chr(number)}b" for number in range(sys.maxunicode + 1) if not 0xD800 <= number < 0xE000]
    known = facts.tokenizer_facts(folder, {"max_length": 256, "truncation_side": "right"})
    wanted = ids_in_python(folder, asked, 256, "right")
    other = [text for text, one, two in zip(asked, ids_in_node(known, asked), wanted, strict=True) if one != two]
    assert len(other) <= 30, other  # letters of 2024 that the browser takes apart and the tokenizer does not know


def test_a_page_holds_its_parts_and_is_written_again(latin: None, runtime: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = write_page(FROZEN / "onnx-int8", runtime, out, lang="tr")
    text = out.read_text(encoding="utf-8")
    assert 'lang="tr"' in text and "default-src 'none'" in text and done.size == out.stat().st_size > done.model_bytes
    assert "http://" not in text and "https://" not in text
    assert write_page(FROZEN / "onnx-int8", runtime, out, lang="tr") == done


def test_a_file_of_somebody_else_stays(runtime: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("<p>mine")
    with pytest.raises(UserError, match="did not make"):
        write_page(FROZEN / "onnx-int8", runtime, out)
    assert out.read_text() == "<p>mine"


@pytest.mark.parametrize(
    ("artefact", "message"),
    [("pairs", "answers single texts with labels or a number"), ("openvino-float", "runs ONNX models")],
)
def test_what_a_page_cannot_do_is_refused(runtime: Path, tmp_path: Path, artefact: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_page(FROZEN / artefact, runtime, tmp_path / "page.html")


@pytest.mark.parametrize("task", ["token-classification", "image-classification", "embedding"])
def test_other_tasks_are_refused(runtime: Path, tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write.read_manifest(FROZEN / "onnx-int8") | {"task": task}
    monkeypatch.setattr(write, "read_manifest", lambda folder: manifest)
    with pytest.raises(UserError, match=f"answers single texts with labels or a number. Found: {task}"):
        write_page(FROZEN / "onnx-int8", runtime, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("part", "value"),
    [("pre_tokenizer", {"type": "Whitespace"}), ("normalizer", {"type": "Lowercase"}), ("normalizer", None), ("post_processor", {})],
)
def test_another_tokenizer_is_refused(latin: None, tmp_path: Path, part: str, value: Any) -> None:
    state = json.loads((FROZEN / "onnx-int8" / "tokenizer.json").read_text(encoding="utf-8"))
    if value == {}:
        state["added_tokens"][0]["lstrip"] = True
    else:
        state[part] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(UserError, match="a page cannot read texts as this tokenizer does"):
        facts.tokenizer_facts(tmp_path, {"max_length": 32, "truncation_side": "right"})


def test_without_onnxruntime_web_the_user_is_told_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["page", str(FROZEN / "onnx-int8"), "--runtime", str(tmp_path), "--out", str(tmp_path / "page.html")])
    assert end.value.code == 2
    assert "npm install onnxruntime-web" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="needs chromium")
@pytest.mark.skipif(not (RUNTIME_FOLDER / WASM).is_file(), reason="needs onnxruntime-web; IMBIK_ONNXRUNTIME_WEB names its folder dist")
@pytest.mark.parametrize("artefact", ["onnx-float", "onnx-int8", "tags"])
def test_answers_in_chromium_without_a_network_are_those_of_python(tmp_path: Path, artefact: str) -> None:
    asked = texts([["my card is lost", "Kartım çalındı, ne yapmalıyım?"]])
    page = write_page(FROZEN / artefact, RUNTIME_FOLDER, tmp_path / "page.html").path
    with browsing() as browser:
        browser.open(page)
        found = browser.run(f"imbik.then((model) => Promise.all({json.dumps(asked)}.map((text) => model.answer(text))))")
        browser.run("document.getElementById('text').value = 'my card'; document.getElementById('form').requestSubmit()")
        browser.run("new Promise((done) => setTimeout(done, 500))")
        shown = browser.run("Array.from(document.querySelectorAll('tbody tr'), (row) => row.cells[0].textContent)")
        assert all(address.startswith(("file:", "blob:")) for address in browser.requests)
    model = load_artefact(FROZEN / artefact, threads=1)
    wanted = np.concatenate([model.predict([text]) for text in asked])
    np.testing.assert_allclose(found, wanted, atol=0.01 if artefact != "onnx-float" else 1e-5)
    assert (np.argmax(found, 1) == wanted.argmax(1)).mean() >= 0.998
    assert shown[0] == model.labels[int(model.predict(["my card"])[0].argmax())]
