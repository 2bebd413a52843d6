"""Draw the pictures of the pages as SVG, in English and Turkish: ``python docs/img/draw.py``.

Every picture has its own background, dark where the reader's system is dark, a title and a description for screen readers, and type that
is still read at the width of a phone.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
LANGUAGES = ("en", "tr")
STYLE = """
  .sheet { fill: #ffffff } text { fill: #1c2430; font: 15px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle }
  .small { font-size: 12.5px } .bold { font-weight: 600 } .left { text-anchor: start }
  .teacher { fill: #dbe9f4; stroke: #1f5f8b } .student { fill: #fde9d0; stroke: #b45f06 } .plain { fill: #eef0f2; stroke: #5b6570 }
  .off { fill: #f6f7f8; stroke: #9aa3ad; stroke-dasharray: 4 3 } rect, circle { stroke-width: 1.6 }
  .line { stroke: #5b6570; stroke-width: 1.6; fill: none; marker-end: url(#tip) } .chosen { stroke: #c62828; stroke-width: 3; marker-end: url(#red) }
  .skip { stroke-dasharray: 5 4 } .tip { fill: #5b6570 } .red { fill: #c62828 }
  @media (prefers-color-scheme: dark) {
    .sheet { fill: #151a21 } text { fill: #e6ebf0 } .teacher { fill: #17364d; stroke: #8ec5ff } .student { fill: #4a2f10; stroke: #ffb866 }
    .plain { fill: #2a313a; stroke: #9aa7b5 } .off { fill: #1d232b; stroke: #6b7682 } .line { stroke: #aab6c2 } .tip { fill: #aab6c2 }
    .chosen { stroke: #ff6b6b } .red { fill: #ff6b6b }
  }"""


class Picture:
    """An SVG that grows by boxes, words and arrows; coordinates in pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title><desc>{escape(description)}</desc><style>{STYLE}\n</style>",
            *(
                f'<defs><marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse"'
                f' orient="auto"><path class="{shade}" d="M0 0 8 4 0 8z"/></marker></defs>'
                for name, shade in (("tip", "tip"), ("red", "red"))
            ),
            f'<rect class="sheet" width="{width}" height="{height}" rx="8"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, words: str, kind: str = "plain", small: bool = False) -> None:
        """Draw a box with its words in the middle, lines parted by a bar."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        lines = words.split("|")
        step = 16 if small else 19
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + height / 2 + 5 + step * (number - (len(lines) - 1) / 2), line, "small" if small else "")

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Write one line."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>')

    def arrow(self, *points: tuple[float, float], kind: str = "") -> None:
        """Draw an arrow through points."""
        path = " ".join(f"{'M' if number == 0 else 'L'}{x} {y}" for number, (x, y) in enumerate(points))
        self.parts.append(f'<path class="line {kind}" d="{path}"/>')

    def curve(self, start: tuple[float, float], by: tuple[float, float], end: tuple[float, float], kind: str = "") -> None:
        """Draw a bent arrow."""
        self.parts.append(f'<path class="line {kind}" d="M{start[0]} {start[1]} Q{by[0]} {by[1]} {end[0]} {end[1]}"/>')

    def written(self) -> str:
        """Return the file."""
        return "\n".join([*self.parts, "</svg>", ""])


def distilbert(tr: bool) -> Picture:
    """Every other layer, and three losses."""
    title = "DistilBERT: öğretmenin her iki katmanından biri" if tr else "DistilBERT: one layer out of two"
    picture = Picture(640, 420, title, "12 → 6; 0, 2, 4, 7, 9, 11")
    picture.text(110, 28, "öğretmen: BERT" if tr else "teacher: BERT", "bold")
    picture.text(390, 28, "öğrenci: DistilBERT" if tr else "student: DistilBERT", "bold")
    kept = (0, 2, 4, 7, 9, 11)
    for layer in range(12):
        y = 372 - 28 * layer
        name = f"{'katman' if tr else 'layer'} {layer}"
        picture.box(30, y, 160, 23, name, "teacher" if layer in kept else "off", small=True)
    for place, layer in enumerate(kept):
        y = 345 - 50 * place
        picture.box(310, y, 160, 30, f"{'katman' if tr else 'layer'} {place}", "student", small=True)
        picture.arrow((190, 383.5 - 28 * layer), (307, y + 15))
    losses = ("yumuşak etiketler|T² · KL", "gerçek etiketler|çapraz entropi", "son katmanın yönü|1 − cos") if tr else (
        "soft labels|T² · KL", "true labels|cross-entropy", "direction of the|last layer, 1 − cos")  # fmt: skip
    for place, words in enumerate(losses):
        picture.box(500, 70 + 100 * place, 130, 56, words, "plain", small=True)
        picture.arrow((470, 100), (498, 98 + 100 * place))
    return picture


def mobilebert(tr: bool) -> Picture:
    """The block: 512 wide between blocks, 128 inside."""
    title = "MobileBERT'in bloğu: arada 512, içeride 128" if tr else "MobileBERT's block: 512 between blocks, 128 inside"
    picture = Picture(640, 470, title, "512 → 128 → attention → 4 × FFN 128 → 512 → 128 → 512")
    picture.text(320, 28, title, "bold")
    rows = (
        (46, 340, "giriş, 512" if tr else "input, 512", "teacher"),
        (110, 150, "512 → 128 (daralt)" if tr else "512 → 128 (narrow)", "student"),
        (172, 190, "dikkat: 4 baş, 128" if tr else "attention: 4 heads, 128", "student"),
        (234, 190, "4 × ileri besleme" if tr else "4 × feed-forward", "student"),
        (320, 150, "128 → 512 (genişlet)" if tr else "128 → 512 (widen)", "student"),
        (394, 340, "çıkış, 512" if tr else "output, 512", "teacher"),
    )
    for y, width, words, kind in rows:
        height = 62 if y == 234 else 38
        picture.box(320 - width / 2, y, width, height, words + ("|128 → 512 → 128" if y == 234 else ""), kind)
    for (y, *_rest), (below, *_more) in zip(rows, rows[1:], strict=False):
        picture.arrow((320, y + (62 if y == 234 else 38)), (320, below - 2))
    picture.curve((490, 65), (600, 240), (492, 410), "skip")
    picture.text(566, 160, "artık bağlantı" if tr else "residual", "small")
    picture.curve((150, 65), (60, 130), (223, 186), "skip")
    picture.text(92, 150, "değerler (V)" if tr else "values (V)", "small")
    picture.text(92, 168, "512 girişten" if tr else "from the 512", "small")
    picture.text(
        320,
        455,
        "24 blok; gömme 128, 3'lü evrişimle 512'ye" if tr else "24 blocks; embeddings of 128, widened by a 3-gram convolution",
        "small",
    )
    return picture


def tinybert(tr: bool) -> Picture:
    """Two stages, four transfers."""
    title = "TinyBERT: iki aşama, dört aktarım" if tr else "TinyBERT: two stages, four transfers"
    picture = Picture(640, 430, title, "general corpus → task data, augmented; embedding, attention, hidden states, predictions")
    stages = (
        ("1 · genel aşama" if tr else "1 · general stage", "büyük derlem" if tr else "large corpus", "önceden eğitilmiş|öğretmen" if tr else "pretrained|teacher", ()),
        ("2 · görev aşaması" if tr else "2 · task stage", "görev verisi|+ artırılmış metin" if tr else "task data|+ made texts", "ince ayarlı|öğretmen" if tr else "fine-tuned|teacher", ("",)),
    )  # fmt: skip
    transfers = ["gömme" if tr else "embedding", "dikkat" if tr else "attention", "gizli durum" if tr else "hidden states"]
    for column, (name, data, teacher, more) in enumerate(stages):
        x = 20 + 315 * column
        picture.text(x + 140, 28, name, "bold")
        picture.box(x, 46, 130, 52, data, "plain", small=True)
        picture.box(x + 155, 46, 130, 52, teacher, "teacher", small=True)
        listed = transfers + (["tahminler" if tr else "predictions"] if more else [])
        for row, words in enumerate(listed):
            picture.box(x + 60, 130 + 46 * row, 170, 34, words, "plain", small=True)
            picture.arrow((x + 262, 98), (x + 262, 147 + 46 * row), (x + 232, 147 + 46 * row))
        picture.arrow((x + 30, 98), (x + 30, 375), (x + 58, 375))
        picture.box(x + 60, 352, 170, 46, "öğrenci: 4 katman, 312" if tr else "student: 4 layers, 312", "student", small=True)
        picture.arrow((x + 145, 130 + 46 * len(listed) - 12), (x + 145, 350))
    picture.arrow((250, 375), (392, 375))
    picture.text(320, 418, "2. aşama 1. aşamanın öğrencisinden başlar" if tr else "stage 2 starts from the student of stage 1", "small")
    return picture


def enas(tr: bool) -> Picture:
    """All of a search space in one graph; one chosen model in red."""
    title = (
        "ENAS: çizge arama uzayıdır, kırmızı yol seçilen modeldir"
        if tr
        else "ENAS: the graph is the search space, the red path one chosen model"
    )
    picture = Picture(640, 300, title, "1 → 2 → 3, 2 → 4 → 6; all models share the weights of the edges")
    places = {1: (70, 150), 2: (190, 80), 3: (320, 40), 4: (320, 190), 5: (450, 110), 6: (570, 170)}
    chosen = {(1, 2), (2, 3), (2, 4), (4, 6)}
    for start in places:
        for end in places:
            if start < end:
                (x1, y1), (x2, y2) = places[start], places[end]
                length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
                dx, dy = (x2 - x1) / length * 25, (y2 - y1) / length * 25
                picture.arrow((x1 + dx, y1 + dy), (x2 - dx, y2 - dy), kind="chosen" if (start, end) in chosen else "")
    for name, (x, y) in places.items():
        kind = "teacher" if name == 1 else "student" if name in (3, 6) else "plain"
        picture.parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="23"/>')
        picture.text(x, y + 5, str(name), "bold")
    picture.text(70, 195, "girdi" if tr else "input", "small")
    picture.text(570, 215, "çıktı" if tr else "output", "small")
    picture.text(395, 34, "çıktı" if tr else "output", "small")
    words = ("Denetleyici okları seçer; her ok, seçildiği bütün", "modellerde aynı ağırlıklardır.") if tr else (
        "A controller picks arrows; an arrow is the same weights", "in every model that picks it.")  # fmt: skip
    for row, line in enumerate(words):
        picture.text(320, 262 + 19 * row, line, "small")
    return picture


def integer(tr: bool) -> Picture:
    """Multiply-accumulate in integers."""
    title = "Tam sayılarla çarp ve topla" if tr else "Multiply-accumulate in integers"
    picture = Picture(640, 250, title, "uint8 × int8 → int32 → × M0 · 2^-n + Z → uint8")
    picture.box(15, 60, 120, 44, "q_x − Z_x|uint8", "teacher", small=True)
    picture.box(15, 140, 120, 44, "q_w|int8", "teacher", small=True)
    picture.box(180, 96, 80, 52, "×", "plain")
    picture.box(300, 86, 110, 72, "Σ|int32", "student")
    picture.box(450, 86, 90, 72, "× M₀|>> n|+ Z_y", "student", small=True)
    picture.box(570, 96, 62, 52, "q_y|uint8", "teacher", small=True)
    picture.arrow((135, 82), (178, 112))
    picture.arrow((135, 162), (178, 132))
    for start, end in ((260, 298), (410, 448), (540, 568)):
        picture.arrow((start, 122), (end, 122))
    picture.curve((375, 158), (355, 205), (335, 160), "skip")
    picture.text(320, 32, title, "bold")
    picture.text(355, 205, "her k için" if tr else "for every k", "small")
    picture.text(
        320, 236, "8 bit × 8 bit, toplam 32 bit; kayan nokta yok" if tr else "8 bits × 8 bits, a sum of 32 bits; no float", "small"
    )
    return picture


PICTURES: dict[str, Callable[[bool], Picture]] = {
    "distilbert": distilbert, "mobilebert": mobilebert, "tinybert": tinybert, "enas": enas, "integer": integer,
}  # fmt: skip


def files() -> dict[Path, str]:
    """Return every file and what it must hold."""
    names = {language: "" if language == "en" else f".{language}" for language in LANGUAGES}
    return {HERE / f"{name}{names[one]}.svg": draw(one == "tr").written() for name, draw in PICTURES.items() for one in LANGUAGES}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
