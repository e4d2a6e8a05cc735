"""The benchmarks run and print a table."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


def printed(script, *words):
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_speed():
    ways = ["PyTorch, NCHW", "PyTorch", "PyTorch, bf16"]
    lines = printed("restore.py", "--random", 1, "--sizes", "32x24", "64x40", "--repeat", 1, "--ways", *ways)
    assert lines[0] == "QCN, 1 blocks of 64, 1 threads, megapixels a second:"
    assert lines[2] == "| | 32 x 24 | ratio | 64 x 40 | ratio |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {way}" for way in ways]
    assert lines[4].split(" | ")[2] == "1.0"


def test_loss(make_checkpoint, folder_of_photos):
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    model = make_checkpoint("qmar", identity=True)
    ways = ["OpenVINO", "PyTorch, bf16"]
    lines = printed(
        "int8.py", "--model", model, "--gtdata", folder_of_photos, "--quality", 10, 50, "--images", 2, "--ways", *ways
    )
    assert "2 images" in lines[0] and lines[2] == "| | 10 | 50 |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {way}" for way in ways]
    assert "(+0.000)" in lines[4]
