"""Which module may import which package: the table, and what the thin install must never load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "imbik"

# Packages that only some rooms may import, and where at module level. Elsewhere an import must stand inside a function.
ALLOWED = {
    "torch": {"compress", "distillation", "export", "factorization", "finetune", "literature", "methods", "models", "modules",
              "pretraining", "pruning", "quantization", "search", "sharing", "students", "testing", "training", "trim"},
    "transformers": {"literature", "models", "pretraining", "sharing", "students", "testing"},
    "accelerate": {"training/loop"},
    "safetensors": {"models/structure", "training/state"},
    "onnx": {"export/onnx", "export/openvino", "modules/export"},
    "onnxruntime": {"export/onnx"},
    "openvino": {"export/openvino"},
    "numba": {"recommend/kernels"},
    "nncf": set(),
    "executorch": set(),
    "torchao": set(),
    "datasets": set(),
    "pyarrow": set(),
    "sklearn": set(),
    "scipy": {"recommend"},
    "psutil": set(),
    "matplotlib": set(),
    "PIL": set(),
    "ray": set(),
    "optuna": set(),
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_the_table_of_imports(package):
    wrong = []
    for path in modules():
        name = path.relative_to(SOURCE).with_suffix("").as_posix()
        allowed = any(name == room or name.startswith(f"{room}/") for room in ALLOWED[package])
        if package in top_level_imports(path) and not allowed:
            wrong.append(name)
    assert not wrong, f"{package} is imported at module level by {wrong}"


THIN = {
    "every engine by name": "from imbik.runtime.engines import engines; engines()",
    "every builder by name": "from imbik.export.builders import builders; builders()",
    "import imbik": "import imbik",
    "import imbik.runtime.predictor": "import imbik.runtime.predictor",
    "import imbik.measure.run": "import imbik.measure.run",
    "import imbik.data.load": "import imbik.data.load",
    "import imbik.measure.results": "import imbik.measure.results",
    "imbik --help": "from imbik.cli.app import build_app; build_app()",
}


@pytest.mark.parametrize("name", sorted(THIN))
def test_the_thin_rooms_load_no_torch(name):
    heavy = ("torch", "transformers", "datasets", "accelerate", "onnx", "sklearn", "scipy", "numba", "pyarrow", "pandas", "PIL")
    code = f"{THIN[name]}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["predict", "--help"], ["--lang", "tr", "predict", "--help"], ["--lang=tr", "predict", "--help"]])
def test_a_command_loads_no_room_of_another(words):
    rooms = ("imbik.advise", "imbik.report", "imbik.roi", "imbik.recommend", "jinja2")
    code = f"import sys, imbik.cli.app as app\ntry: app.main({words!r})\nfinally: print([m for m in {rooms!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("words", [["--help"], ["predct"], ["--help", "predict"], ["--lang", "tr"]])
def test_help_and_mistyped_commands_know_every_command(words):
    done = subprocess.run([sys.executable, "-m", "imbik", *words], capture_output=True, text=True, timeout=60)
    assert "compress" in done.stdout or "predict" in done.stderr
