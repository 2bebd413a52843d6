"""`imbik trim`: equal answers where no piece is gone, smaller pieces where one is, every kind of tokenizer and head, refusals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from typer.testing import CliRunner
from word_piece_kinds import SENTENCES, bpe, unigram, wrapped

from imbik.cli.app import build_app
from imbik.data.documents import open_documents, open_split
from imbik.data.formats.csv import read_lines
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.models.vocabulary.choice import Rule
from imbik.testing.tiny import tiny_tokenizer
from imbik.trim import trim, usage

TURKISH = [
    "İstanbul'da ılık bir ışık, ISPARTA'da IĞDIR'a giden yol",
    "ıslak ıhlamur ile İZMİR inciri, iki ipli iplik",
    "kartım kayboldu, hesabım açılmadı ve şifremi unuttum",
    "şubenizin çalışma saatleri nedir, ücret ne kadar",
]
OTHERS = [
    "the account was closed yesterday evening",
    "мой счёт закрыли вчера",
    "γεια σου κόσμε",
    "我丢了我的卡",
    "カードを失くした",
    "بطاقتي ضاعت",
]
KINDS = {"unigram": unigram, "bpe": bpe}


def tokenizer_of(kind):
    if kind == "wordpiece":
        letters = sorted({letter for text in [*TURKISH, *OTHERS] for letter in text if letter != " "})
        words = sorted({word for text in [*TURKISH, *OTHERS] for word in text.replace(",", " ").replace("'", " ").split()})
        pieces = dict.fromkeys(["<pad>", "<s>", "</s>", "<unk>", *letters, *(f"##{letter}" for letter in letters), *words])
        tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), pre_tokenizers.BertPreTokenizer()
        return wrapped(tokenizer, ["<pad>", "<s>", "</s>", "<unk>"])
    return KINDS[kind]([*TURKISH, *OTHERS], 700 if kind == "bpe" else 330)


def make(folder, kind="unigram", family="bert", auto=AutoModel, tokenizer=None, **more):
    """A random model of a family with a head, saved."""
    torch.manual_seed(0)
    tokenizer = tokenizer or tokenizer_of(kind)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 80}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes, **more)
    model = auto.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def corpus(folder, texts=TURKISH, name="corpus.txt"):
    path = folder / name
    path.write_text("\n".join(texts), encoding="utf-8")
    return open_documents(path)


def cut(folder, out, documents, **more):
    return trim(folder, [documents], out, progress=Silent(), say=lambda _: None, **({"held_back": 0.0} | more))


def tokens(folder, texts):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.encode(text).tokens for text in texts]


def outputs(folder, texts, auto=AutoModel):
    """What transformers alone makes of a folder."""
    model, tokenizer = auto.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt"))[0].numpy() for text in texts]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_texts_that_need_no_piece_that_is_gone_are_cut_and_answered_as_before(kind, tmp_path):
    before = make(tmp_path / "before", kind, "roberta" if kind == "bpe" else "bert")
    result = cut(before, tmp_path / "after", corpus(tmp_path))
    assert result.pieces_after < result.pieces_before and result.difference == 0.0 and result.held_back is None
    assert tokens(tmp_path / "after", TURKISH) == tokens(before, TURKISH)
    for one, other in zip(outputs(before, TURKISH), outputs(tmp_path / "after", TURKISH), strict=True):
        np.testing.assert_array_equal(one, other)
    config = json.loads((tmp_path / "after" / "config.json").read_text("utf-8"))
    assert config["vocab_size"] == result.pieces_after == len(AutoTokenizer.from_pretrained(tmp_path / "after"))
    assert result.bytes_after == sum((tmp_path / "after" / name).stat().st_size for name in ("model.safetensors", "tokenizer.json"))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_word_of_the_language_that_was_never_seen_falls_back_to_smaller_pieces(kind, tmp_path):
    before = make(tmp_path / "before", kind, "roberta" if kind == "bpe" else "bert")
    cut(before, tmp_path / "after", corpus(tmp_path, TURKISH[2:]))
    unseen = ["ılık ışık", "İZMİR IĞDIR iplik"]
    old, new = tokens(before, unseen), tokens(tmp_path / "after", unseen)
    assert new != old, "the corpus has none of these words"

    def spelled(pieces):
        return ["".join(piece.removeprefix("##") for piece in text if piece not in ("<s>", "</s>")) for text in pieces]

    assert spelled(new) == spelled(old) and not any("<unk>" in text for text in new)


def test_dotted_and_dotless_letters_stay_apart(tmp_path):
    before = make(tmp_path / "before")
    cut(before, tmp_path / "after", corpus(tmp_path))
    ways = ["İ", "I", "ı", "i", "ışık", "işık", "IŞIK", "İŞIK"]
    found = tokens(tmp_path / "after", ways)
    assert found == tokens(before, ways)
    assert len({tuple(one) for one in found}) == len(ways), "no two of them are one text"


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "electra", "albert", "mpnet", "camembert", "mobilebert"])
def test_a_masked_language_models_output_table_follows(family, tmp_path):
    narrow = {
        "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16},
        "albert": {"embedding_size": 16},
        "electra": {"embedding_size": 16},
    }
    before = make(tmp_path / "before", family=family, auto=AutoModelForMaskedLM, **narrow.get(family, {}))
    result = cut(before, tmp_path / "after", corpus(tmp_path))
    names = Tokenizer.from_file(str(tmp_path / "after" / "tokenizer.json")).get_vocab()
    old = Tokenizer.from_file(str(before / "tokenizer.json")).get_vocab()
    rows = [old[piece] for piece in sorted(names, key=names.__getitem__)]
    one, other = (outputs(folder, TURKISH, AutoModelForMaskedLM) for folder in (before, tmp_path / "after"))
    for ours, theirs in zip(other, one, strict=True):
        assert ours.shape[-1] == result.pieces_after
        np.testing.assert_allclose(ours, theirs[..., rows], atol=2e-5)


HEADS = {
    "classifier": AutoModelForSequenceClassification,
    "tagger": AutoModelForTokenClassification,
    "reader": AutoModelForQuestionAnswering,
}


@pytest.mark.parametrize("head", HEADS)
def test_every_head_stays(head, tmp_path):
    before = make(tmp_path / "before", family="distilbert", auto=HEADS[head])
    (before / "imbik.json").write_text(json.dumps({"task": None, "steps": [{"int8": {}}], "notes": [], "pairs": None}), "utf-8")
    result = cut(before, tmp_path / "after", corpus(tmp_path))
    assert result.difference == 0.0
    for one, other in zip(*(outputs(folder, TURKISH, HEADS[head]) for folder in (before, tmp_path / "after")), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads((tmp_path / "after" / "imbik.json").read_text("utf-8"))["steps"] == [{"int8": {}}]


def test_what_says_how_states_are_pooled_comes_along_and_sentence_transformers_gives_the_same_vectors(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers import models as parts

    folder = make(tmp_path / "plain")
    word = parts.Transformer(str(folder), max_seq_length=20)
    sentence = library.SentenceTransformer(modules=[word, parts.Pooling(32, "mean"), parts.Normalize()], device="cpu")
    sentence.save(str(tmp_path / "before"))
    cut(tmp_path / "before", tmp_path / "after", corpus(tmp_path))
    after = library.SentenceTransformer(str(tmp_path / "after"), device="cpu")
    np.testing.assert_array_equal(sentence.encode(TURKISH), after.encode(TURKISH))
    assert after.max_seq_length == 20


def test_scripts_that_the_texts_do_not_use_go_and_quoted_characters_stay(tmp_path):
    before = make(tmp_path / "before", "wordpiece")
    cut(before, tmp_path / "after", corpus(tmp_path, [*TURKISH, "м"]), rule=Rule(characters="scripts"))
    left = set(Tokenizer.from_file(str(tmp_path / "after" / "tokenizer.json")).get_vocab())
    assert {"ş", "##ş", "y", "м", "<pad>", "'", ","} <= left
    assert not left & {"γ", "##γ", "我", "ب"}
    cut(before, tmp_path / "all", corpus(tmp_path), rule=Rule(characters="all"))
    assert {"γ", "##γ", "我", "ب"} <= set(Tokenizer.from_file(str(tmp_path / "all" / "tokenizer.json")).get_vocab())


def test_the_256_bytes_of_a_byte_level_bpe_always_stay(tmp_path):
    before = make(tmp_path / "before", "bpe", "roberta")
    cut(before, tmp_path / "after", corpus(tmp_path, ["abc"]), rule=Rule(characters="seen"))
    tokenizer = Tokenizer.from_file(str(tmp_path / "after" / "tokenizer.json"))
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= set(tokenizer.get_vocab())
    assert tokenizer.decode(tokenizer.encode("我丢了我的卡 🙂").ids).strip() == "我丢了我的卡 🙂"


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "bpe without a space before"])
def test_counting_by_words_is_counting_whole_texts(kind, tmp_path, monkeypatch):
    backend = Tokenizer.from_str(tokenizer_of(kind.split()[0]).backend_tokenizer.to_str())
    if "space" in kind:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    monkeypatch.setattr(usage, "_WORDS", 5)
    monkeypatch.setattr(usage, "_CHUNK", 300)
    texts = [*TURKISH, *OTHERS] * 20
    found = usage.count_pieces([corpus(tmp_path, texts)], backend, backend.get_vocab_size(), 0.0, tmp_path / "note.npz", Silent())
    ids = [index for text in texts for index in backend.encode(text, add_special_tokens=False).ids]
    np.testing.assert_array_equal(found.counts, np.bincount(ids, minlength=backend.get_vocab_size()))
    by_word = usage._Counter(backend, np.zeros(backend.get_vocab_size(), np.int64))
    by_word.count(TURKISH)
    assert by_word.by_word is ("space" not in kind), "byte-level BPE marks the space before a word, which the first word of a text lacks"


def test_pieces_bounds_the_table_and_keeps_the_most_used(tmp_path):
    before = make(tmp_path / "before", "wordpiece")
    texts = ["kartım kartım kartım şifremi şifremi ücret"]
    needed = cut(before, tmp_path / "none", corpus(tmp_path, texts), rule=Rule(min_count=99, characters="seen")).pieces_after
    result = cut(before, tmp_path / "after", corpus(tmp_path, texts), rule=Rule(characters="seen", most=needed + 2))
    left = set(Tokenizer.from_file(str(tmp_path / "after" / "tokenizer.json")).get_vocab())
    assert result.pieces_after == needed + 2 and {"kartım", "şifremi"} <= left and "ücret" not in left
    with pytest.raises(UserError, match=r"too few pieces.*at least"):
        cut(before, tmp_path / "few", corpus(tmp_path, texts), rule=Rule(most=5))


def test_held_back_texts_tell_what_is_gone(tmp_path):
    """Counted by hand from both tokenizers."""
    before = make(tmp_path / "before", "wordpiece")
    generator = random.Random(0)
    words = [word for text in TURKISH for word in text.replace(",", "").split()]
    texts = sorted({" ".join(generator.choices(words, k=2)) for _ in range(60)})
    documents = corpus(tmp_path, [*texts, *texts])
    result = cut(before, tmp_path / "after", documents, held_back=0.3)
    held = result.held_back

    apart = [text for text in documents.stream() if usage.is_held_back(text, 0.3)]
    assert held.texts == len(apart) and result.documents == 2 * len(texts) - len(apart) and len(apart) % 2 == 0, "both copies"
    old, new = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (before, tmp_path / "after"))
    cuts = [old.encode(text, add_special_tokens=False).tokens for text in apart]
    gone = [[token not in new.get_vocab() for token in one] for one in cuts]
    assert held.tokens == sum(map(len, cuts)) and held.gone == sum(map(sum, gone)) / held.tokens
    assert held.touched == sum(map(any, gone)) / len(apart)
    assert held.longer == sum(len(new.encode(text, add_special_tokens=False).ids) for text in apart) / held.tokens


def test_a_padding_id_that_positions_are_counted_from_keeps_its_number(tmp_path):
    """XLM-R reads the first token at the position behind its padding id."""
    tokenizer = tokenizer_of("unigram")
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["model"]["vocab"][:4] = [[["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]][place] for place in range(4)]
    spec["model"]["unk_id"] = 3
    for token in spec["added_tokens"]:
        token["id"] = ["<s>", "<pad>", "</s>", "<unk>"].index(token["content"])
    for name, number in (("<s>", 0), ("</s>", 2)):
        spec["post_processor"]["special_tokens"][name]["ids"] = [number]
    moved = wrapped(Tokenizer.from_str(json.dumps(spec)), ["<pad>", "<s>", "</s>", "<unk>"])
    before = make(tmp_path / "before", family="xlm-roberta", tokenizer=moved)
    assert cut(before, tmp_path / "after", corpus(tmp_path)).difference == 0.0
    for one, other in zip(outputs(before, TURKISH), outputs(tmp_path / "after", TURKISH), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_call_is_not_repeated_and_another_is_refused(tmp_path):
    before, said = make(tmp_path / "before"), []
    first = cut(before, tmp_path / "after", corpus(tmp_path), held_back=0.4)
    again = trim(before, [corpus(tmp_path)], tmp_path / "after", held_back=0.4, progress=Silent(), say=said.append)
    assert again == first and "finished earlier" in said[0]
    with pytest.raises(UserError, match="holds a model already"):
        cut(before, tmp_path / "after", corpus(tmp_path, SENTENCES))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_count_goes_on_and_ends_as_an_undisturbed_one(tmp_path):
    before = make(tmp_path / "before")
    documents = corpus(tmp_path, [f"{text} {number}" for number in range(20_000) for text in TURKISH])
    whole = cut(before, tmp_path / "whole", documents, held_back=0.01)
    program = textwrap.dedent(f"""
        import os, signal
        from imbik.jobs.progress import Silent
        from imbik.data.documents import open_documents, open_split
        from imbik.trim import usage, trim
        usage._SAVE = 0.0
        write, times = usage._save_note, []
        def killed(*arguments):
            write(*arguments)
            times.append(1)
            if len(times) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        usage._save_note = killed
        from pathlib import Path
        documents = open_documents({str(tmp_path / "corpus.txt")!r})
        trim({str(before)!r}, [documents], Path({str(tmp_path / "after")!r}), held_back=0.01, progress=Silent(), say=print)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "after" / "config.json").exists()
    note = next((tmp_path / "after").rglob("count.npz"))
    assert 0 < int(np.load(note)["documents"]) < whole.documents
    after = cut(before, tmp_path / "after", documents, held_back=0.01)
    assert (after.documents, after.characters, after.held_back) == (whole.documents, whole.characters, whole.held_back)
    for name in ("tokenizer.json", "model.safetensors"):
        assert (tmp_path / "after" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_command_in_both_languages(tmp_path):
    before = make(tmp_path / "before")
    corpus(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\nkartım kayboldu,kötü\nücret ne kadar,iyi\n", encoding="utf-8")
    arguments = ["trim", str(before), "--language-of", str(tmp_path / "reviews.csv"), "--texts", str(tmp_path / "corpus.txt")]
    done = CliRunner().invoke(build_app(), [*arguments, "--out", str(tmp_path / "a"), "--held-back", "0.3", "--json"])
    facts = json.loads(done.stdout)
    assert done.exit_code == 0 and facts["pieces_after"] < facts["pieces_before"] and facts["documents"] < 6
    done = CliRunner().invoke(build_app(), [*arguments, "--out", str(tmp_path / "b"), "--held-back", "0", "--lang", "tr"])
    assert done.exit_code == 0 and "sözcük parçası" in done.stdout and "hiçbir belge ayrı tutulmadı" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no texts"),
        (["--texts", "none.txt"], "no such file"),
        (["--texts", "corpus.txt", "--characters", "some"], "unknown choice"),
        (["--texts", "corpus.txt", "--pieces", "9", "--margin", "9"], "contradict"),
        (["--texts", "corpus.txt", "--held-back", "2"], "not a share"),
        (["--texts", "empty.txt"], ""),
    ],
)
def test_bad_input_is_one_message(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "before")
    corpus(tmp_path)
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    from imbik.cli.app import main

    monkeypatch.setattr(sys, "argv", ["imbik", "trim", "before", "--out", "out", *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert not (tmp_path / "out" / "config.json").exists()


def test_models_that_write_text_and_other_tokenizers_are_refused(tmp_path):
    before = make(tmp_path / "before")
    config = json.loads((before / "config.json").read_text("utf-8"))
    (before / "config.json").write_text(json.dumps(config | {"architectures": ["BertForCausalLM"]}), "utf-8")
    with pytest.raises(UserError, match="writes text"):
        cut(before, tmp_path / "after", corpus(tmp_path))
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "kart": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    other = make(tmp_path / "other", tokenizer=wrapped(words, ["<pad>", "<s>", "</s>", "<unk>"]))
    with pytest.raises(UserError, match=r"cannot be pruned.*WordLevel"):
        cut(other, tmp_path / "after", corpus(tmp_path))
    assert not (tmp_path / "after" / "config.json").exists()


def test_progress_ends_at_its_whole_where_a_context_is_read_once_a_question(tmp_path):
    class Counted(Silent):
        total = done = 0

        @contextmanager
        def track(self, what, total, done=0):
            self.total += total
            yield self

        def advance(self, n=1, note=""):
            self.done += n

    questions = [{"id": str(n), "question": f"{n} nerede?", "answers": [{"text": "su", "answer_start": 0}]} for n in range(300)]
    page = {"title": "a", "paragraphs": [{"context": "su buz " * 1000, "qas": questions}]}
    (tmp_path / "train.json").write_text(json.dumps({"data": [page]}), encoding="utf-8")
    shown = Counted()
    used = usage.count_pieces(
        [open_split(tmp_path / "train.json", joined=False)],
        tokenizer_of("unigram").backend_tokenizer,
        400,
        0.0,
        tmp_path / "note.npz",
        shown,
    )
    assert used.characters > 2 << 20 > shown.total << 20
    assert shown.done == shown.total


def test_long_lines_are_read_a_few_at_a_time(tmp_path):
    lines = [f"{number} " + "a" * 400_000 for number in range(9)]
    (tmp_path / "long.txt").write_text("\n".join(lines), encoding="utf-8")
    chunks = [chunk.columns["text"] for chunk in read_lines(tmp_path / "long.txt").stream(("text",))]
    assert [len(chunk) for chunk in chunks] == [3, 3, 3] and [line for chunk in chunks for line in chunk] == lines


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' peak of memory")
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    before = make(tmp_path / "before", tokenizer=tiny_tokenizer())

    def peak(megabytes):
        text = tmp_path / f"{megabytes}.txt"
        with text.open("w", encoding="utf-8") as file:
            generator = random.Random(0)
            for number in range(megabytes * 8):
                file.write(" ".join(generator.choices(SENTENCES, k=4000))[: (1 << 17) - 20] + f" {number}\n")
        program = (
            "from pathlib import Path; from imbik.trim import trim; from imbik.jobs.progress import Silent; "
            "from imbik.data.documents import open_documents; import re; "
            f"texts, out = open_documents({str(text)!r}), Path({str(tmp_path / f'out{megabytes}')!r}); "
            f"trim({str(before)!r}, [texts], out, progress=Silent(), say=print); "
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        shutil.rmtree(tmp_path / f"out{megabytes}")
        return int(done.stdout.split()[-1]) / 1024

    assert peak(160) - peak(20) < 40
