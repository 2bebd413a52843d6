"""Images as data: folders of classes and Parquet, and what is refused, skipped and said."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest
from picture_data import LABELS, class_folder, picture, split_folder, stored
from pyarrow import parquet

from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.images.store import ImageStore

TASK = "image-classification"


def read(source, **options):
    return load_data(source, task=TASK, say=lambda line: None, **options)


def kinds(splits) -> dict[str, dict]:
    return {note.kind: dict(note.values) for note in splits.notes}


def test_folders_of_classes_in_folders_of_splits(tmp_path):
    splits = read(split_folder(tmp_path))
    assert splits.labels == LABELS and splits.task == TASK and splits.metric == "accuracy"
    assert len(splits.test) == 12 and len(splits.train) + len(splits.dev) == 24
    assert isinstance(splits.test.texts, ImageStore)
    for row in range(len(splits.test)):
        label, name = splits.test.texts.name(row).replace("\\", "/").split("/")[-2:]
        assert LABELS[splits.test.targets[row]] == label
        assert splits.test.texts[row] == (tmp_path / "test" / label / name).read_bytes()
    assert set(kinds(splits)) == {"carved_train", "images_near"}


def test_folders_of_classes_alone_are_carved(tmp_path):
    splits = read(class_folder(tmp_path, 20))
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 60
    assert min(np.bincount(splits.test.targets, minlength=3)) > 0
    again = read(tmp_path)
    assert again.fingerprint == splits.fingerprint and again.test.texts.digest() == splits.test.texts.digest()
    assert read(tmp_path, seed=1).fingerprint != splits.fingerprint


def test_relative_folders_and_deeper_ones(tmp_path, monkeypatch):
    class_folder(tmp_path / "pictures", 6)
    deep = tmp_path / "pictures" / "red" / "more"
    deep.mkdir()
    (deep / "x.PNG").write_bytes(stored(picture("red", 99)))
    monkeypatch.chdir(tmp_path)
    splits = read("pictures")
    assert sum(len(part) for part in (splits.train, splits.dev, splits.test)) == 19


def table(label_type=None, form=lambda data, number: {"bytes": data, "path": f"{number}.png"}, each: int = 10, metadata=None) -> pa.Table:
    rows = [(label, number) for number in range(each) for label in LABELS]
    images = [form(stored(picture(label, number)), number) for label, number in rows]
    labels = [LABELS.index(label) if label_type == "int" else label for label, _ in rows]
    made = pa.table({"image": images, "label": labels})
    return made.replace_schema_metadata(metadata) if metadata else made


@pytest.mark.parametrize("form", ["struct", "binary"])
def test_parquet_holds_the_bytes(tmp_path, form):
    made = table(form=lambda data, _: data) if form == "binary" else table(form=lambda data, _: {"bytes": data, "path": None})
    parquet.write_table(made, tmp_path / "a.parquet")
    splits = read(tmp_path / "a.parquet")
    folder = read(class_folder(tmp_path / "folder", 10))
    everything = sorted(splits.train.texts[i] for i in range(len(splits.train)))
    assert set(everything) <= {stored(picture(label, n)) for label in LABELS for n in range(10)}
    assert splits.labels == folder.labels == LABELS


def test_class_names_of_hugging_face(tmp_path):
    names = b'{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["blue", "green", "red"], "_type": "ClassLabel"}}}}'
    parquet.write_table(table("int", metadata={b"huggingface": names}), tmp_path / "train.parquet")
    splits = read(tmp_path)
    assert splits.labels == LABELS


def test_a_saved_data_set_gives_bytes(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(LABELS))})
    rows = {"image": [{"bytes": stored(picture(c, n)), "path": None} for n in range(8) for c in LABELS], "label": [0, 1, 2] * 8}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    splits = read(tmp_path / "saved")
    assert splits.labels == LABELS and splits.train.texts[0][:4] == b"\x89PNG"


def test_a_table_of_paths(tmp_path):
    class_folder(tmp_path / "pictures", 6)
    lines = [f"pictures/{label}/{number}.png,{label}" for label in LABELS for number in range(6)]
    (tmp_path / "all.csv").write_text("file_name,label\n" + "\n".join(lines), encoding="utf-8")
    assert sum(map(len, (splits := read(tmp_path / "all.csv")) and (splits.train, splits.dev, splits.test))) == 18
    (tmp_path / "all.csv").write_text("file_name,label\n" + "\n".join([*lines, "pictures/gone.png,red"]), encoding="utf-8")
    with pytest.raises(UserError, match=r"gone\.png: the image cannot be read"):
        read(tmp_path / "all.csv")


def test_one_broken_image_among_many_is_named_or_skipped(tmp_path):
    class_folder(tmp_path, 20)
    whole = stored(picture("red", 3, 64), "JPEG")
    (tmp_path / "red" / "3b.jpg").write_bytes(whole[:-400])
    with pytest.raises(UserError, match=r"3b\.jpg: the image is broken.*--skip-broken"):
        read(tmp_path)
    splits = read(tmp_path, skip_broken=True)
    assert sum(len(part) for part in (splits.train, splits.dev, splits.test)) == 60
    assert kinds(splits)["images_broken"]["count"] == 1 and kinds(splits)["images_broken"]["first"].endswith("3b.jpg")


def test_a_row_without_an_image_is_named(tmp_path):
    rows = table()
    images = rows["image"].to_pylist()
    images[4] = None
    parquet.write_table(rows.set_column(0, "image", pa.array(images)), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 5, column 'image': no image in the cell"):
        read(tmp_path / "a.parquet")
    assert kinds(read(tmp_path / "a.parquet", skip_broken=True))["images_broken"]["count"] == 1


def test_what_was_converted_is_said(tmp_path):
    class_folder(tmp_path, 10)
    (tmp_path / "red" / "print.jpg").write_bytes(stored(picture("red", 50).convert("CMYK"), "JPEG"))
    (tmp_path / "red" / "gray.png").write_bytes(stored(picture("red", 51).convert("L")))
    said: list[str] = []
    found = kinds(load_data(tmp_path, task=TASK, say=said.append))
    assert found["image_cmyk"]["count"] == 1 and found["image_cmyk"]["first"].endswith("print.jpg")
    assert found["image_gray"]["count"] == 1
    assert any("four printing colors" in line for line in said)


def test_copies_in_train_and_test_are_found_by_their_pixels(tmp_path):
    split_folder(tmp_path)
    # stored in another way, under another name: the same pixels
    (tmp_path / "test" / "red" / "copy.bmp").write_bytes(stored(picture("red", 0), "BMP"))
    shutil.copy(tmp_path / "train" / "red" / "1.png", tmp_path / "train" / "blue" / "again.png")
    found = kinds(read(tmp_path))
    assert found["images_in_train"] == {"count": 1, "total": 13, "split": "test"}
    assert found["images_contradicting"] == {"count": 1, "split": "train"}


def test_copies_stay_on_one_side_of_a_cut(tmp_path):
    class_folder(tmp_path, 20)
    for label in LABELS:
        for number in range(20):
            shutil.copy(tmp_path / label / f"{number}.png", tmp_path / label / f"copy{number}.png")
    splits = read(tmp_path)
    sides = [{part.texts[row] for row in range(len(part))} for part in (splits.train, splits.dev, splits.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_folders_that_cannot_be_read(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: a folder without images"):
        read(tmp_path / "empty")
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes(stored(picture("red", 0)))
    with pytest.raises(UserError, match=r"without images in folders of classes\. Found: a\.png"):
        read(flat)
    one = tmp_path / "one"
    shutil.copytree(class_folder(tmp_path / "three", 8) / "red", one / "red")
    with pytest.raises(UserError, match="one class"):
        read(one)
    with pytest.raises(UserError, match="--task image-classification"):
        load_data(tmp_path / "three", say=lambda line: None)


def test_skipping_and_unlabelled_images_have_their_place(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"word{i},{'ab'[i % 2]}\n" for i in range(20)), encoding="utf-8")
    with pytest.raises(UserError, match="--skip-broken"):
        load_data(tmp_path / "a.csv", skip_broken=True, say=lambda line: None)
    with pytest.raises(UserError, match="--unlabelled"):
        read(class_folder(tmp_path / "three", 8), unlabelled=tmp_path)
