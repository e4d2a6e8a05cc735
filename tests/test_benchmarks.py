"""The benchmarks run and print the tables that README.md shows."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

README = (ROOT / "README.md").read_text()


@pytest.fixture
def folder(tmp_path, photo):
    (tmp_path / "two").mkdir()
    for number in range(2):
        part = np.ascontiguousarray(photo[96 * number : 96 * number + 96, 180:300])
        Image.fromarray(part).save(tmp_path / "two" / f"{number}.png")
    return tmp_path / "two"


def table(script, *words):
    """The rows of the Markdown table that a benchmark prints, and the rest of its output."""
    command = [sys.executable, ROOT / "benchmarks" / script, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] in README
    return [line.strip("| ").split(" | ") for line in lines[2:] if line.startswith("|")], done.stdout


def test_estimation(folder):
    rows, text = table("estimate.py", "--gtdata", folder, "--quality", "50,80")
    assert rows == [[name, *["2/2"] * 4] for name in ("50", "80")] + [["all", *["4/4"] * 4]]
    assert "false alarms on pictures as they are: 0/2" in text


def test_projection(folder, make_checkpoint):
    rows, _ = table("project.py", "--gtdata", folder, "--quality", "30", "--model", make_checkpoint("qmar"))
    (row,) = rows
    outside, projected, kept = (float(cell.removesuffix(" %")) for cell in row[1:4])
    assert row[0] == "30" and len(row) == 9
    assert 1 < outside <= 100 and projected < outside / 10 and kept > 95
    assert float(row[6]) > float(row[5])  # a projected picture is nearer than what a random network makes of it
