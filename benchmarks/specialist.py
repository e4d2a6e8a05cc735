"""Train a network on one kind of JPEG alone: how much there is to gain on it, for benchmarks/real_jpegs.py.

    python benchmarks/specialist.py --kind steep --sampling 4:2:0 --imgGTRoot data/photos --net qmar_plus ...

The other options are those of src/main.py. Every crop is a photograph in colour that has the tables of the kind, as
strong as the standard ones of a quality that `--degradation real` would draw, and the one sampling.
"""

import sys

from real_cases import SLOPES, sloped

from program import params, run

KINDS = ("standard", *SLOPES)


def main(argv: list[str] | None = None) -> int:
    """Train as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", required=True, choices=KINDS, help="what the tables are like")
    parser.add_argument("--sampling", default="4:2:0", choices=("4:2:0", "4:2:2", "4:4:4"))
    chosen, rest = parser.parse_known_args(argv)

    from main import main as train

    specialise(chosen.kind, chosen.sampling)
    return train([*rest, "--degradation", "real"])


def specialise(kind: str, sampling: str) -> None:
    """Let `--degradation real` of this process make JPEGs of one kind of tables and one sampling alone."""
    from dataset import degradation
    from jpeg.tables import standard_tables

    def tables(_random, quality: int):
        return standard_tables(quality) if kind == "standard" else sloped(SLOPES[kind], quality)

    degradation.draw_tables = tables
    degradation.SAMPLING = {sampling: 1.0}
    degradation.WRITTEN = degradation.NO_COLOUR = degradation.SIMPLE_CHROMA = 0.0


if __name__ == "__main__":
    sys.exit(run(main))
