"""What a user does today for an int8 classifier: Optimum's recipes, run in an environment of their own (imbik is not imported).

ONNX Runtime (also what sentence-transformers' ``export_dynamic_quantized_onnx_model`` calls):

    python -m venv peer-onnx
    peer-onnx/bin/pip install "torch==2.13.0" "transformers<4.58" "optimum-onnx[onnxruntime]"
    peer-onnx/bin/python benchmarks/quantization/peers.py onnx CHECKPOINT OUT

OpenVINO with NNCF (what sentence-transformers' ``export_static_quantized_openvino_model`` calls); optimum-intel asks for torchvision,
which text models do not use, so it is installed without its dependencies:

    python -m venv peer-openvino
    peer-openvino/bin/pip install "torch==2.13.0" "transformers<5.6" openvino nncf datasets optimum requests
    peer-openvino/bin/pip install --no-deps optimum-intel
    peer-openvino/bin/python benchmarks/quantization/peers.py openvino CHECKPOINT OUT --texts train.csv

Then ``run.py adopt`` puts the file beside imbik's artefacts, so that all are measured in one run.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path


def onnx(checkpoint: Path, out: Path, texts: list[str]) -> Path:
    """Dynamic int8 by ORTQuantizer with the preset for AVX512-VNNI, as Optimum's documentation shows."""
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    with tempfile.TemporaryDirectory() as folder:
        ORTModelForSequenceClassification.from_pretrained(checkpoint, export=True).save_pretrained(folder)
        quantizer = ORTQuantizer.from_pretrained(folder)
        settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
        quantizer.quantize(save_dir=out, quantization_config=settings)
    return next(out.glob("*quantized.onnx"))


def openvino(checkpoint: Path, out: Path, texts: list[str]) -> Path:
    """Static int8 by OVQuantizer on 300 texts of the task."""
    from datasets import Dataset
    from optimum.intel import OVConfig, OVModelForSequenceClassification, OVQuantizationConfig, OVQuantizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rows = Dataset.from_dict({"text": texts[:300]})
    calibration = rows.map(lambda row: tokenizer(row["text"], truncation=True, max_length=128), remove_columns=["text"])
    model = OVModelForSequenceClassification.from_pretrained(checkpoint, export=True)
    OVQuantizer.from_pretrained(model).quantize(
        ov_config=OVConfig(quantization_config=OVQuantizationConfig()), calibration_dataset=calibration, save_directory=out
    )
    return out / "openvino_model.xml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=("onnx", "openvino"))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=Path, help="CSV or TSV; its first column, or 'text' or 'sentence', is calibrated on")
    args = parser.parse_args()
    texts: list[str] = []
    if args.texts:
        with args.texts.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if args.texts.suffix == ".tsv" else ","))
        column = next((name for name in ("text", "sentence") if name in rows[0]), next(iter(rows[0])))
        texts = [row[column] for row in rows]
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    print({"onnx": onnx, "openvino": openvino}[args.recipe](args.checkpoint, args.out, texts))


if __name__ == "__main__":
    main()
