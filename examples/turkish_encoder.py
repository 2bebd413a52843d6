"""A small Turkish encoder from nothing: a cased WordPiece vocabulary of its own and random weights, ready for `imbik finetune`.

    python examples/turkish_encoder.py --data tr_reviews --out turkish-base
    imbik finetune --base turkish-base --data tr_reviews --out turkish-teacher --epochs 8 --learning-rate 2e-4
    imbik compress --teacher turkish-teacher --data tr_reviews --out run --recipe int8 --recipe layers-2+int8

Measured (Turkish store reviews, 3 classes, 1,141 test rows): 65.8 % after 5 minutes on one core; logistic regression on word TF-IDF reaches
71.3 %, always the largest class 38.5 %. The path holds, the accuracy is that of an encoder that has read nothing but 9,124 reviews: give it
raw Turkish text first (`imbik finetune --task mlm --train-encoder`), or start from a pretrained Turkish encoder, where you can reach one.

Nothing is lower-cased and no accent is stripped: in Turkish ``I`` belongs to ``ı`` and ``İ`` to ``i``, so ``str.lower()`` would make
wrong words, and BERT's uncased vocabulary turns ``ş`` into ``s``. Suffixes become pieces such as ``##lar`` and ``##ın``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from imbik.data.load import load_data

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """A cased WordPiece tokenizer with ``size`` pieces; Unicode is composed (NFC), nothing else is changed."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=256,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="what imbik's --data takes; the training texts make the vocabulary")
    parser.add_argument("--text", default=None)
    parser.add_argument("--label", default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    splits = load_data(options.data, text=options.text, label=options.label)
    tokenizer = train_tokenizer(list(splits.train.texts), options.pieces)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 32,
        intermediate_size=4 * options.hidden,
        max_position_embeddings=256,
    )
    AutoModel.from_config(config).save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()
