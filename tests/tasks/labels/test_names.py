"""A label is a name: the same text is the same class in every split, model and Unicode form."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.tasks.labels.names import alike, folded, matched, value_of


def write(path: Path, labels: list[str], rows: int = 60) -> Path:
    path.write_text("text,label\n" + "".join(f"{path.stem} message {i},{labels[i % len(labels)]}\n" for i in range(rows)), "utf-8")
    return path


def test_one_name_in_several_unicode_forms(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, name) for name in ("café", "Şikâyet") for form in ("NFC", "NFD")]
    path = write(tmp_path / "d.csv", [*forms, "tea"])
    assert set(load_data(path).labels) == {"café", "Şikâyet", "tea"}
    # a model's own names stay as they are
    model = tuple(unicodedata.normalize("NFD", name) for name in ("tea", "café", "Şikâyet"))
    assert load_data(path, labels=model).labels == model
    assert load_evaluation(path, labels=model, task="classification").labels == model


@pytest.mark.parametrize(
    ("train", "test"), [(["1.0", "2.0", "other"], ["1", "2"]), (["1", "2", "x"], ["1.0", "2.0"]), (["007", "12"], ["7", "12"])]
)
def test_numbers_name_one_class_in_every_split(tmp_path: Path, train: list[str], test: list[str]) -> None:
    write(tmp_path / "train.csv", train)
    write(tmp_path / "test.csv", test, 20)
    splits = load_data(tmp_path, task="classification")
    names = [splits.labels[i] for i in splits.test.targets[:2]]
    assert [float(name) for name in names] == [float(name) for name in test] and set(splits.labels) == set(train)


def test_two_texts_of_one_number_stay_two_classes(tmp_path: Path) -> None:
    write(tmp_path / "d.csv", ["007", "7", "12"])
    assert load_data(tmp_path / "d.csv", task="classification").labels == ("007", "7", "12")


@pytest.mark.parametrize("names", [["-1", "1"], ["-1", "0", "1"], ["nan", "eng", "tur"]])
def test_a_split_of_one_label_is_labelled_where_train_has_it(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path / "train.csv", names)
    write(tmp_path / "dev.csv", names[:1], 20)
    write(tmp_path / "test.csv", names, 30)
    splits = load_data(tmp_path)
    assert splits.labels == tuple(sorted(names)) or splits.labels == ("-1", "0", "1")
    assert len(splits.dev.texts) == 20 and {splits.labels[i] for i in splits.dev.targets} == {names[0]}
    found = load_evaluation(tmp_path / "dev.csv", labels=splits.labels, task="classification")
    assert np.array_equal(found.test.targets, splits.dev.targets)


def test_nan_among_names_is_a_name_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    splits = load_data(write(tmp_path / "d.csv", ["eng", "tur", "nan"]), say=said.append)
    assert splits.labels == ("eng", "nan", "tur") and any("have the label nan" in line for line in said)
    with pytest.raises(UserError, match="row without a label"):
        load_data(write(tmp_path / "d.csv", ["1", "2", "nan"]))
    with pytest.raises(UserError, match="row without a label"):
        load_data(write(tmp_path / "d.csv", ["eng", "tur", "nan"]), labels=("eng", "tur"))


def test_names_that_look_alike_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    splits = load_data(write(tmp_path / "d.csv", ["Food", "food", "lost  card", "lost card"]), say=said.append)
    assert len(splits.labels) == 4 and any("look alike" in line and "'Food' / 'food'" in line for line in said)
    assert alike(["1", "1.0", "ölü", "olu"]) == []


def test_a_model_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two labels of one name.*'a'"):
        load_data(write(tmp_path / "d.csv", ["a", "b"]), labels=("a", "b", "a"))


def test_names_are_compared_as_people_type_them() -> None:
    assert folded("SINIF") == folded("sınıf") == folded("sinif") and folded("GÖRÜŞ") == "gorus"
    assert value_of("0.0") == value_of("-0") == "0" and value_of("v1.0") == "v1.0"
    assert matched(["1.0"], ["1", "01"], value_of) == {}, "two could be meant"


def test_numbers_of_other_values_or_forms_and_empty_names_are_not_alike() -> None:
    assert alike(["1", "01", "1.0", "", " "]) == [] and alike(["a", "\uff41", "A "]) == [("a", "\uff41", "A ")]
    assert alike(["1", "\uff11"]) == [("1", "\uff11")], "another width"


@pytest.mark.parametrize("pair", [("HAYIR", "Hayır"), ("İade", "iade"), ("SINIF", "sınıf"), ("FILE", "file"), ("İPTAL", "İptal")])
def test_capitals_are_alike_in_turkish_and_in_english(pair: tuple[str, str]) -> None:
    assert alike([*pair, "other"]) == [pair]
    assert alike(["ölü", "olu", "ılık", "ilik"]) == [], "letters that tell words apart"
