"""Made messages: what a template gives in both languages, and that every bundled template can be filled."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from imbik.data.bundled import bundled_data
from imbik.data.load import load_data
from imbik.demo.grammar import Grammar, Template, read_grammar

PLAIN = {"opener": (), "closer": ()}


def grammar_of(english: str, turkish: str, **phrases) -> Grammar:
    return Grammar((Template("one", (english, turkish)),), PLAIN | phrases)


def test_a_folder_is_read_template_by_template(tmp_path):
    (tmp_path / "slots.txt").write_text("# a comment\n@day\nMonday = pazartesi\n\nFriday = cuma\n", "utf-8")
    (tmp_path / "late.txt").write_text("[late|slow] on {day}? || {day} [geç|yavaş] mı?\n", "utf-8")
    found = read_grammar(tmp_path)
    assert found.templates == (Template("late", ("[late|slow] on {day}?", "{day} [geç|yavaş] mı?")),)
    assert found.phrases == {"day": (("Monday", "pazartesi"), ("Friday", "cuma"))}


def test_both_languages_say_the_same_phrase():
    day = (("Monday", "pazartesi"), ("Friday", "cuma"), ("noon", "öğlen"))
    made = grammar_of("[it|this] came on {day}", "{day} [geldi|ulaştı]", day=day).messages(0, 12, seed=3)
    assert len(made) > 4
    for english, turkish in made:
        spoken = [pair for pair in day if re.search(pair[0], english, re.I)]
        (pair,) = spoken
        marks = str.maketrans("öğ", "og")
        assert pair[1].translate(marks) in turkish.lower().translate(marks)


def test_messages_are_different_drawn_by_the_seed_and_the_first_ones_stay():
    grammar = read_grammar()
    few, many = grammar.messages(7, 3, seed=1), grammar.messages(7, 9, seed=1)
    assert many[:3] == few and len({english.casefold() for english, _ in many}) == len(many) == 9
    assert grammar.messages(7, 9, seed=2) != many
    assert grammar_of("hello", "selam").messages(0, 5)  # no wordings: variants of case alone are one message
    assert len({english.casefold().rstrip(".") for english, _ in grammar_of("hello", "selam").messages(0, 5)}) <= 2


def test_turkish_letters_fall_as_turkish_does():
    made = grammar_of("IBAN", "ISINMA İZİN").messages(0, 2, seed=0)
    forms = {turkish.rstrip(".") for seed in range(40) for _, turkish in grammar_of("IBAN", "ISINMA İZİN").messages(0, 2, seed=seed)}
    assert made and "ısınma izin" in forms and not any("isınma" in form or "ızin" in form for form in forms)
    assert "ISINMA IZIN" in forms, "some people type without the marks"


def test_openers_and_closers_are_now_and_then_put_around_a_message():
    phrases = {"opener": (("Hi,", "Merhaba,"), ("Help!", "İmdat!")), "closer": (("Thanks.", "Sağolun."),)}
    grammar = Grammar((Template("one", ("where is it {a}", "nerede {a}")),), phrases | {"a": tuple((str(i), str(i)) for i in range(500))})
    made = [english for english, _ in grammar.messages(0, 400)]
    assert 0.2 < sum(bool(re.match(r"(hi,|help!)", text, re.I)) for text in made) / len(made) < 0.45
    assert 0.2 < sum(bool(re.search(r"thanks\.?$", text, re.I)) for text in made) / len(made) < 0.45
    assert any(text.startswith("Hi, where is") for text in made) and any(text.startswith("Help! Where is") for text in made)


@pytest.fixture(scope="module")
def bundled() -> Grammar:
    return read_grammar()


def test_every_intent_has_templates_in_both_languages(bundled):
    labels = load_data(bundled_data(), text="text", label="intent").labels
    counts = Counter(template.intent for template in bundled.templates)
    assert set(counts) == set(labels) and min(counts.values()) >= 40
    texts = [text for template in bundled.templates for text in template.texts]
    assert len(set(texts)) == len(texts)


def test_every_bundled_template_is_whole(bundled):
    for template in bundled.templates:
        for text in template.texts:
            bare = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\{\w+\}", "", text))
            assert not set(bare) & set("[]{}|"), text
            assert set(re.findall(r"\{(\w+)\}", text)) <= set(bundled.phrases), text
            assert all(option.strip() for group in re.findall(r"\[([^\]]*)\]", text) for option in group.split("|")), text
        english, turkish = (set(re.findall(r"\{(\w+)\}", text)) for text in template.texts)
        assert english == turkish, template


def test_turkish_templates_are_turkish(bundled):
    for template in bundled.templates:
        assert not re.search(r"\b(the|please|my|and|is|card|account)\b", template.texts[1].casefold()), template
