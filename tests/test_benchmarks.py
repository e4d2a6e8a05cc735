"""The benchmarks run and print the tables that README.md shows."""

import json
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


def printed(script, *words):
    """The lines that a benchmark prints."""
    command = [sys.executable, ROOT / "benchmarks" / script, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def table(script, *words):
    """The rows of the Markdown table that a benchmark prints, and all of its lines."""
    lines = printed(script, *words)
    assert lines[0] in README
    return [line.strip("| ").split(" | ") for line in lines[2:] if line.startswith("|")], lines


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("training.py", ["--batch", "0"]),
        ("memory.py", ["--megapixels", "0"]),
        ("int8.py", ["--images", "0"]),
        ("restore.py", ["--sizes", "12"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_mean_nothing_are_one_sentence(script, words):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)


def test_estimation(folder):
    rows, lines = table("estimate.py", "--gtdata", folder, "--quality", "50,80")
    assert rows == [[name, *["2/2"] * 4] for name in ("50", "80")] + [["all", *["4/4"] * 4]]
    assert any("false alarms on pictures as they are: 0/2" in line for line in lines)


def test_projection(folder, make_checkpoint):
    rows, _ = table("project.py", "--gtdata", folder, "--quality", "30", "--model", make_checkpoint("qmar"))
    (row,) = rows
    outside, projected, kept = (float(cell.removesuffix(" %")) for cell in row[1:4])
    assert row[0] == "30" and len(row) == 9
    assert 1 < outside <= 100 and projected < outside / 10 and kept > 95
    assert float(row[6]) > float(row[5])  # a projected picture is nearer than what a random network makes of it


def test_global_branch(folder, make_checkpoint):
    rows, lines = table("global_branch.py", "--gtdata", folder, "--quality", "30", "--model", make_checkpoint("qmarg"))
    (row,) = rows
    assert row[0] == "30" and len(row) == 5 and float(row[4]) > 0
    assert row[2] != row[1] and abs(float(row[2]) - float(row[3])) < 1  # a random network's features hardly differ
    assert lines[-1].endswith("of 48")


def test_speed():
    ways = ["PyTorch, NCHW", "PyTorch", "PyTorch, bf16"]
    lines = printed("restore.py", "--random", 1, "--sizes", "32x24", "64x40", "--repeat", 1, "--ways", *ways)
    assert lines[0] == "QCN, 1 blocks of 64, 1 threads, cpu, megapixels a second:"
    assert lines[2] == "| | 32 x 24 | ratio | 64 x 40 | ratio |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {way}" for way in ways]
    assert lines[4].split(" | ")[2] == "1.0"


def test_loss(make_checkpoint, folder_of_photos):
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    model = make_checkpoint("qmar", identity=True)
    ways = ["OpenVINO", "PyTorch, bf16"]
    lines = printed(
        "int8.py", "--model", model, "--gtdata", folder_of_photos, "--quality", "10,50", "--images", 2, "--ways", *ways
    )
    assert "2 images" in lines[0] and lines[2] == "| | 10 | 50 |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {way}" for way in ways]
    assert "(+0.000)" in lines[4]


def test_half(make_checkpoint, folder):
    path = make_checkpoint("qmar")
    lines = printed("half.py", path, "--gtdata", folder, "--quality", "10,90")
    row = lines[4].strip("| ").split(" | ")
    assert lines[2].count("|") == 4 and row[0] == path.name
    changes = [abs(float(cell.split("(")[1].strip(")"))) for cell in row[1:]]
    assert len(changes) == 2 and lines[-1] == f"largest change: {max(changes):.4f} dB"


def test_data(folder):
    rows, _ = table("data.py", "--images", folder, "--batch", 2, "--samples", 32, "--rounds", 1)
    assert rows[0][0] == "Pillow alone: encode + decode" and len(rows) == 8
    assert all(float(row[1].replace(",", "")) > 0 for row in rows)


def test_training():
    words = ["--batch", 2, "--steps", 1, "--rounds", 1, "--networks", "QCN, 8 blocks of 48", "--ways"]
    lines = printed("training.py", *words, "eager, NCHW, fp32", "channels_last", "bf16, with loader")
    assert lines[0].startswith("1 threads, cpu, torch ") and lines[-3].startswith(
        "| network | eager, NCHW, fp32: samples/s"
    )
    name, *figures = lines[-1].strip("| ").split(" | ")
    assert name == "QCN, 8 blocks of 48" and len(figures) == 3 and all(float(figure) > 0 for figure in figures)


def test_evaluation(folder, make_checkpoint):
    words = ["--gtdata", folder, "--quality", 10, "--model", make_checkpoint("qmar"), "--rounds", 1]
    lines = printed("evaluation.py", *words)
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert rows[0][0] == f"metrics of 2 images of {folder}"
    assert [row[0] for row in rows[2:4]] == ["published", "ours"]
    assert [row[0] for row in rows[6:]] == [
        "published metrics", "ours", "ours, 1 worker thread",
    ]  # fmt: skip


def test_memory(make_checkpoint):
    lines = printed("memory.py", "--model", make_checkpoint("qmar"), "--megapixels", 0.05, "--ways", "torch")
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert rows[0][1] == "peak MB, 0.05 megapixels" and rows[2][0] == "torch" and float(rows[2][1]) > 100
    assert len(rows) == 3 + 2 + 9


@pytest.mark.slow
def test_startup():
    lines = printed("startup.py")
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| main.py --help", "| eval.py --help"] and len(
        lines
    ) == 13


def test_real_jpegs(folder, tmp_path):
    words = ["real_jpegs.py", "--gtdata", folder, "--images", 2]
    few = ["--families", "standard", "flat", "R = G = B"]
    lines = printed(*words, *few, "--json", tmp_path / "gains.json")
    assert lines[0] == "| tables |  | JPEG, dB | shipped, gain | share |"
    rows = {tuple(row[:2]): row[2:] for row in (line[2:-2].split(" | ") for line in lines[2:])}
    assert rows["standard", "4:2:0, 100"][1] == "+0.00 (+0.00)"  # left as it is
    assert float(rows["standard", "4:2:0, 10"][1].split()[0]) > 1 and rows["standard", "4:2:0, 10"][2] == ""
    assert 0.5 < float(rows["flat", "4:4:4, 70"][2]) < 1.5
    assert rows["R = G = B", "4:2:0, 10"][1].endswith("R, G, B apart 0")
    gains = json.loads((tmp_path / "gains.json").read_text())
    assert len(gains["flat 4:4:4, 70"]["shipped"]) == 2 and len(rows) == len(gains)
    assert float(rows["flat", "4:4:4, 70"][0]) == pytest.approx(np.mean(gains["flat 4:4:4, 70"]["JPEG"]), abs=0.06)


def test_real_jpegs_of_another_method(folder, tmp_path):
    words = ["real_jpegs.py", "--gtdata", folder, "--families", "R, G, B coded", "gray"]
    printed(*words, "--write", tmp_path / "jpegs")
    written = sorted((tmp_path / "jpegs").rglob("*.jpg"))
    assert len(written) == 2 * 12
    for file in written:
        target = tmp_path / "theirs" / file.parent.name / f"{file.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target)
    rows = [line.split(" | ")[3] for line in printed(*words, "--peer", f"theirs={tmp_path / 'theirs'}")[2:]]
    assert rows == ["+0.00 (+0.00)"] * 12  # what they restored is the file itself
    peer = f"theirs={tmp_path / 'theirs'}"
    for bad, said in (
        (["--peer", "theirs"], "--peer 'theirs' is not of the form NAME=PATH"),
        (["--peer", f"theirs={tmp_path}", "--families", "gray"], "16 of 16 results do not exist"),
        (["--families", "colour"], "--families 'colour': unknown, choose from 'R = G = B', 'R, G, B coded', 'falling'"),
        (["--peer", peer, "--peer", peer], "the name 'theirs' is taken"),
        (["--peer", peer.replace("theirs=", "JPEG=")], "the name 'JPEG' is taken"),
        (["--peer", peer, "--model", "theirs=a.pth"], "the name is that of a --model"),
        (["--write", tmp_path / "new", "--peer", peer], "--write measures nothing"),
        (["--json", tmp_path / "new" / "a.json"], "is no file in a folder that exists"),
        (["--json", tmp_path], "is no file in a folder that exists"),
    ):
        command = [sys.executable, ROOT / "benchmarks" / "real_jpegs.py", "--gtdata", folder, *bad]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr


def test_a_specialist_sees_one_kind_of_jpeg_alone(folder, tmp_path):
    script = """
import main, numpy as np, sys
from numpy.random import Philox
import specialist
from qgcn.dataset import degradation
from qgcn.jpeg.tables import rise
def seen(argv):
    assert argv[-2:] == ["--degradation", "real"]
    crop = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    made = degradation.build_degradation("real", qualities=(20, 60), mode="RGB", codec="pillow")
    for index in range(100):
        drawn, tables, sampling, simple = made.draw(crop, 0, Philox(key=index))
        assert drawn is crop and sampling == "4:2:2" and not simple and rise(tables[0]) < -0.5
    print("all of them")
main.main = seen
specialist.main(["--kind", "falling", "--sampling", "4:2:2", "--imgGTRoot", "photos"])
"""
    search = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=search)
    assert done.stdout == "all of them\n", done.stderr
    tiny = ["--net", "qmar_plus", "--n_feats", 4, "--n_resblocks", 1, "--batchSize", 2, "--nEpochs", 1]
    words = ["--kind", "steep", "--imgGTRoot", folder, "--threads", 0, "--samples_per_epoch", 4, "--size", 32, *tiny]
    words += ["--savedir", tmp_path / "steep", "--store", tmp_path / "store", "--valid_degradation", "real"]
    printed("specialist.py", *words, "--holdout", 2, "--colorMode", "L")
    assert (tmp_path / "steep" / "model_last.pth").exists()
    for more in (["--resume", tmp_path / "steep"], ["--gpus", "[0,1]"], ["--degradation", "published"]):
        command = [sys.executable, ROOT / "benchmarks" / "specialist.py", *words, *more]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("error: leave out") and done.stderr.count("\n") == 1
