"""Train a network on one kind of JPEG alone: how much there is to gain on it, for benchmarks/real_jpegs.py.

    python benchmarks/specialist.py --kind steep --sampling 4:2:0 --imgGTRoot data/photos --net qmar_plus ...

The other options are those of src/main.py, but for --degradation, --resume and several --gpus. Every crop is a piece of
a photograph that has the tables of the kind, as strong as the standard ones of a quality that `--degradation real`
would draw, and the one sampling.
"""

import sys
from functools import partial

import numpy as np
from numpy.random import Generator, Philox
from real_cases import SLOPES, sloped

from qgcn.cli import params, run
from qgcn.dataset import degradation
from qgcn.jpeg.codec import Codec
from qgcn.jpeg.tables import standard_tables
from qgcn.utils.errors import UserError

KINDS = ("standard", *SLOPES)


class OneKind(degradation.Real):
    """`Real`, but for what is drawn.

    Args:
        kind: one of KINDS.
        sampling: of chroma.
        qualities, mode, codec: as of `Real`.
    """

    def __init__(self, kind: str, sampling: str, qualities: tuple[int, int], mode: str, codec: Codec | None = None):
        super().__init__(qualities, mode, codec)
        self.kind, self.sampling = kind, sampling

    def draw(self, crop: np.ndarray, number: int, bits: Philox) -> tuple[np.ndarray, np.ndarray, str, bool]:
        """The crop, in gray its luma, tables of the kind, the sampling, and no simple chroma."""
        quality = degradation.draw_quality(Generator(bits), self.qualities)
        tables = standard_tables(quality) if self.kind == "standard" else sloped(SLOPES[self.kind], quality)
        if self.mode == "L":
            crop, tables = degradation.luma(crop), tables[:1]
        return crop, tables, self.sampling, False


def main(argv: list[str] | None = None) -> int:
    """Train as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.split("\n")[0], epilog="All other options are those of src/main.py.")
    parser.add_argument("--kind", required=True, choices=KINDS, help="what the tables are like")
    parser.add_argument("--sampling", default="4:2:0", choices=("4:2:0", "4:2:2", "4:4:4"))
    chosen, rest = parser.parse_known_args(argv)
    training = params().training_parser()
    options = training.parse_args(rest)
    given = params().given_options(training, rest)
    if "degradation" in given or options.resume or len(options.gpus) > 1:
        raise UserError("leave out --degradation, --resume and more than one of --gpus: src/main.py alone takes them")

    from main import main as train

    degradation.DEGRADATIONS["real"] = partial(OneKind, chosen.kind, chosen.sampling)
    return train([*rest, "--degradation", "real"])


if __name__ == "__main__":
    sys.exit(run(main))
