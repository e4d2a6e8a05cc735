"""Start-up: --help of every program, and restoring one small photograph from a cold start.

python benchmarks/startup.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, print_table, take_turns

from qgcn.cli import params, run

PROGRAMS = (
    "main", "eval", "eval_qm", "eval_qmg", "restore", "convert", "export", "paper", "fetch_data",
)  # fmt: skip


def start(*words: str) -> None:
    """Run a program of this project, whose output nobody wants."""
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    params().Parser(description=__doc__.partition("\n")[0]).parse_args(argv)

    from PIL import Image
    from skimage.data import astronaut

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        Image.fromarray(astronaut()[:256, :384]).save(photo, quality=30)
        sides = {f"{name}.py --help": [str(ROOT / "src" / f"{name}.py"), "--help"] for name in PROGRAMS}
        restore = [str(ROOT / "src" / "restore.py"), str(photo), "-o", f"{folder}/out.png", "--overwrite"]
        sides["restore.py, 384 x 256"] = restore
        sides["python -c 'import torch'"] = ["-c", "import torch"]
        seconds = take_turns({name: lambda words=words: start(*words) for name, words in sides.items()}, 5)
    print_table(["command", "seconds"], [[name, value] for name, value in seconds.items()])
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
