"""Files of images to answers: folders, tables with bytes or paths, and what happens to broken ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from picture_data import LABELS, class_folder, picture, stored
from pyarrow import parquet

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.images.named import NamedImages
from imbik.jobs.progress import Silent
from imbik.predict.answering import Model
from imbik.predict.run import Asked, predict_files
from imbik.predict.sources import Rows
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny_images import tiny_image_model

BROKEN = stored(picture("red", 1))[:60]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("resnet") / "onnx"
    export(tiny_image_model("resnet", LABELS), "onnx", folder, texts=[np.asarray(picture(label, 0, 16)) for label in LABELS])
    return Model(folder, threads=1)


def answer(model: Model, sources: list[Path], out: Path, said: list[str] | None = None, *, skip: bool = False, **asked: Any) -> Any:
    chosen = Asked(**{"part_rows": 4, "workers": 1, "top": 1} | asked)
    said = [] if said is None else said
    skipping = Model(model.artefact, threads=1, skip_broken=skip)
    return predict_files(skipping, sources, out, asked=chosen, progress=Silent(), say=said.append)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected(model: Model, images: list[Any]) -> list[str]:
    predictor = load_artefact(model.artefact, threads=1)
    return [LABELS[place] for place in predictor.predict(images).argmax(1)]


def test_a_folder_of_images_is_answered_image_by_image(model: Model, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", 4)
    (folder / "notes.txt").write_text("not an image")
    done = answer(model, [folder], tmp_path / "out.csv", workers=2)
    paths = sorted(map(str, folder.rglob("*.png")))
    found = rows_of(tmp_path / "out.csv")
    assert [row["image"] for row in found] == paths and done.rows == 12
    assert [row["label"] for row in found] == expected(model, paths)


def test_tables_hold_bytes_or_paths(model: Model, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", 2)
    paths = sorted(folder.rglob("*.png"))
    files = [path.read_bytes() for path in paths]
    names = [str(path.relative_to(tmp_path)) for path in paths]
    numbers = list(range(6))
    parquet.write_table(pyarrow.table({"image": files, "id": numbers}), tmp_path / "plain.parquet")
    nested = [{"bytes": one, "path": name} for one, name in zip(files, names, strict=True)]
    parquet.write_table(pyarrow.table({"image": nested, "id": numbers}), tmp_path / "nested.parquet")
    lines = "".join(f"{number},{name}\n" for number, name in enumerate(names))
    (tmp_path / "paths.csv").write_text(f"id,image\n{lines}")
    for name, shown in (("plain.parquet", "plain.parquet, row 1"), ("nested.parquet", names[0]), ("paths.csv", names[0])):
        answer(model, [tmp_path / name], tmp_path / f"{name}.out.jsonl", keep=("id",))
        found = [json.loads(line) for line in (tmp_path / f"{name}.out.jsonl").read_text().splitlines()]
        assert found[0]["image"].endswith(shown) and "text" not in found[0]
        assert [row["id"] for row in found] == list(map(str, numbers))
        assert [row["labels"][0]["label"] for row in found] == expected(model, files)


def test_a_broken_image_is_named_and_what_was_answered_before_is_kept(model: Model, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", 4)
    paths = sorted(folder.rglob("*.png"))
    paths[6].write_bytes(BROKEN)
    said: list[str] = []
    with pytest.raises(UserError, match=r"green/2\.png: the image is broken"):
        answer(model, [folder], tmp_path / "out.csv", said)
    assert said[-1].startswith("4 rows are answered and kept")
    # what was answered without leaving anything out serves the run that does
    done = answer(model, [folder], tmp_path / "out.csv", said, skip=True)
    assert (done.rows, done.earlier, done.broken) == (11, 4, 1)
    assert said[-1] == f"1 images could not be read and were left out; the first: {paths[6]}"
    kept = [path for path in paths if path != paths[6]]
    found = rows_of(tmp_path / "out.csv")
    assert [row["image"] for row in found] == list(map(str, kept))
    assert [row["label"] for row in found] == expected(model, list(map(str, kept)))


def test_parts_without_their_broken_images_serve_no_run_that_must_not_leave_any_out(model: Model, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", 4)
    (folder / "blue" / "0.png").write_bytes(BROKEN)
    answer(model, [folder], tmp_path / "out", skip=True)
    with pytest.raises(UserError, match=r"blue/0\.png: the image is broken"):
        answer(model, [folder], tmp_path / "out")
    (folder / "blue" / "0.png").write_bytes(stored(picture("blue", 0)))
    # its bytes are others now: the part that lacked it is answered again
    done = answer(model, [folder], tmp_path / "out", skip=True)
    assert (done.rows, done.earlier, done.broken) == (12, 8, 0)


def test_bad_cells_are_told_with_file_and_row(model: Model, tmp_path: Path) -> None:
    good = stored(picture("red", 1))
    parquet.write_table(pyarrow.table({"image": [good, None, BROKEN]}), tmp_path / "some.parquet")
    with pytest.raises(UserError, match=r"some\.parquet, row 2, column 'image'"):
        answer(model, [tmp_path / "some.parquet"], tmp_path / "out.csv")
    done = answer(model, [tmp_path / "some.parquet"], tmp_path / "out.csv", skip=True)
    assert (done.rows, done.broken) == (1, 2)
    (tmp_path / "gone.csv").write_text("image\ngone.png\n")
    with pytest.raises(UserError, match=r"gone\.csv, row 2: .*gone\.png: the image cannot be read"):
        answer(model, [tmp_path / "gone.csv"], tmp_path / "gone.out.csv")
    with pytest.raises(UserError, match="no image can be read"):
        answer(model, [tmp_path / "gone.csv"], tmp_path / "gone.out.csv", skip=True)


def test_what_makes_no_sense_is_refused(model: Model, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", 1)
    with pytest.raises(UserError, match="no columns to hand on"):
        answer(model, [folder], tmp_path / "out.csv", keep=("id",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no data file in the folder.*\.png"):
        answer(model, [tmp_path / "empty"], tmp_path / "out.csv")
    texts = Path(__file__).parents[1] / "frozen" / "artefacts" / "onnx-float"
    (tmp_path / "a.txt").write_text("a text\n")
    with pytest.raises(UserError, match="only images can be broken"):
        answer(Model(texts), [tmp_path / "a.txt"], tmp_path / "out.csv", skip=True)


def test_a_machine_without_the_files_gets_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(stored(picture("red", 1)))
    paths = [str(tmp_path / "a.png"), str(tmp_path / "gone.png"), b"bytes"]
    rows = Rows(["a", "gone", "third"], images=NamedImages(paths, ["a", "gone", "third"]))
    assert rows.loaded().images is not None
    assert list(rows.loaded().images or ()) == [stored(picture("red", 1)), paths[1], b"bytes"]
    assert rows.loaded().images_at([2]).texts == ["third"]
    assert Rows(["a text"]).loaded() == Rows(["a text"])
