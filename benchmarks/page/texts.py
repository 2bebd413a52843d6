"""Texts that a tokenizer of another make would read otherwise: 500 of them, half from data sets."""

from __future__ import annotations

import random

ODD = [
    "",
    " ",
    "a",
    "İstanbul'da IŞIK, ılık ÇAY ve ğüşiöç",
    "ĞÜŞİÖÇ kartım çalındı!",
    "kartım nerede? 😀",
    "👩‍👩‍👧‍👦 family 🇹🇷 flag",
    "❤️ vs ❤",
    "naïve café ÅNGSTRÖM",
    "e\u0301 and é",
    "ΣΊΣΥΦΟΣ",
    "Straße ẞ",
    "ǅ ﬁ ﬃ ½ ² Ⅷ",
    "日本語のテキスト",
    "中文abc字",
    "한국어 문장입니다",
    "العربية نص",
    "עברית",
    "हिन्दी पाठ",
    "ไทย",
    "tab\tnew\nline\r\n",
    "zero\u200bwidth \ufeff mark",
    "soft\u00adhyphen",
    "nul\x00bell\x07",
    "non\u00a0breaking\u2003space",
    "\u2028line",
    "$100+5=€95 <b>`~^|</b>",
    "¿Qué? ¡Sí! «x» “y” ‘z’ …—–",
    "[CLS] is [SEP] a [MASK] word [UNK]",
    "[cls] [Mask",
    "##piece ##ing",
    "\ufffd mark",
    "a" * 99,
    "b" * 101,
    "x" * 5000,
    "word " * 600,
    "?!" * 300,
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒮",
    "🂡🀄 \U0001f9ff",
    "\u0378 \U000e0001 \ue000",
    "lost\ud800card",
    "кириллица Ёж",
    "Ἀρχή",
    "ﷺ",
    "half⁄life ℃ K",
    "١٢٣ 123 १२३",
    "don't can’t O'Neil's",
    "e-mail@host.example/path?q=1&r=2",
    "C++ #1 100%",
    "…",
    "\u0301",
    "ı̇ İ i I",
    "ŉ ΐ ᾳ",
]


def texts(sets: list[list[str]], count: int = 500) -> list[str]:
    """Return the odd ones, texts of each set in turn, and the rest mixed of letters from everywhere.

    Args:
        sets: texts of data sets.
        count: how many in all.
    """
    rng = random.Random(5)
    taken = [text for column in sets for text in rng.sample(column, min(len(column), count // 2 // len(sets)))]
    mixed = []
    letters = "".join(ODD[3:]) + "abcdefgh     " * 40
    while len(ODD) + len(taken) + len(mixed) < count:
        mixed.append("".join(rng.choices(letters, k=rng.randint(1, 80))))
    return [*ODD, *taken, *mixed]
