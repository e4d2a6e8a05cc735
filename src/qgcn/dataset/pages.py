"""Pieces of written and drawn pages: photographs have hardly any text or lines, and files that people have do."""

from functools import cache

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw, ImageFont

PAGES, SIDE = 256, 256
"""Number of pages that pieces are taken from, and their height and width, pixels."""
POINTS = (8, 40)
"""Smallest and largest size of letters, pixels."""
HARD_EDGES, REDUCED = 0.4, 0.3
"""Shares of pages whose letters have edges that are not smoothed (but thick strokes are), and of those that were
written twice as large, as scans and large screens are, and then reduced."""
BOLD, DRAWN = 0.2, 0.3
"""Shares of pages whose letters have thick strokes, and of those with lines and boxes."""
PLAIN, ON_PICTURE = {"L": 0.25, "RGB": 0.0}, 0.15
"""Shares of pieces that are black on white, by colour mode (where they have no colour the gray network restores them),
and of those written on the picture; the others have two colours."""

_LETTERS = np.frombuffer(b"eeettaaooiinnsshhrrddlluuccmmwwffggyyppbbvvkkjxqzETAOINSHRDLU0123456789.,;:-()/'&%", "S1")


def written(random: Generator, crop: np.ndarray, mode: str) -> np.ndarray:
    """A piece of a page for a network of mode 'RGB' or 'L', as large as the crop (uint8, H x W x 3).

    Now and then the crop is the paper.
    """
    page = _page(int(random.integers(PAGES)))
    page = np.tile(page, [-(-length // SIDE) for length in crop.shape[:2]])
    top, left = (int(random.integers(-length % SIDE + 1)) for length in crop.shape[:2])
    ink = page[top : top + crop.shape[0], left : left + crop.shape[1], None]
    kind = random.random()
    if kind < PLAIN[mode]:
        return np.repeat(255 - ink, 3, axis=2)
    paper = crop if kind < PLAIN[mode] + ON_PICTURE else _colour(random)
    return np.rint(paper + ink / 255 * (_colour(random) - paper)).astype(np.uint8)


@cache
def _page(number: int) -> np.ndarray:
    """How much of each pixel of a page is covered by ink: uint8, SIDE x SIDE."""
    random = default_rng(number)
    edges = random.random()
    scale = 2 if edges > 1 - REDUCED else 1
    page = Image.new("L", (scale * SIDE, scale * SIDE))
    draw = ImageDraw.Draw(page)
    draw.fontmode = "1" if edges < HARD_EDGES else "L"
    points = scale * int(np.exp(random.uniform(*np.log(POINTS))))
    font = ImageFont.load_default(points)  # Pillow's own: every machine has it
    stroke = scale * (random.random() < BOLD) / 2
    for top in np.arange(-points * random.random(), page.height, points * random.uniform(1.05, 1.6)):
        letters = random.choice(_LETTERS, 4 * page.width // points).tobytes().decode()
        words = " ".join(letters[start : start + 6] for start in range(0, len(letters), 6))
        draw.text((-points * random.random(), top), words, fill=255, font=font, stroke_width=stroke)
    if random.random() < DRAWN:
        for left, top, width, height in random.integers(scale * SIDE, size=(24, 4)).tolist():
            box = (left, top, left + width // 4, top + height // 4)
            kind, thick = random.random(), int(random.integers(1, 4))
            if kind < 0.4:  # a rule, or a diagonal
                draw.line((*box[:3], top if kind < 0.3 else box[3]), fill=255, width=thick)
            else:  # a box, filled with ink, or with paper that covers letters
                draw.rectangle(box, fill=None if kind < 0.7 else 255 * (kind < 0.85), outline=255, width=thick)
    return np.asarray(page.reduce(scale))


def _colour(random: Generator) -> np.ndarray:
    """A colour, light and dark ones more often: float64, 3, 0..255."""
    return 255 * random.beta(0.5, 0.5, 3)
