"""Small tokenizers of the kinds that encoders have, trained on a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from imbik.testing.tiny import WORDS

SENTENCES = [
    "my card was lost today",
    "the fee is not good",
    "please open an account, please!",
    "where's the money?",
    "the cardholder paid",
]


def wrapped(tokenizer: Tokenizer, specials: Sequence[str]) -> PreTrainedTokenizerFast:
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), specials, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=32, model_input_names=["input_ids", "attention_mask"], **names
    )


def bpe(texts: Sequence[str] = (), size: int = 420) -> PreTrainedTokenizerFast:
    """Byte-level, as RoBERTa's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([*SENTENCES, *WORDS, "cardigan accounts accountant holder lost money fees", *texts] * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return wrapped(tokenizer, specials)


def unigram(texts: Sequence[str] = (), size: int = 150) -> PreTrainedTokenizerFast:
    """As XLM-R's."""
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([*SENTENCES, *WORDS, "cardigan accounts accountant holder lost money fees", *texts] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return wrapped(tokenizer, specials)
