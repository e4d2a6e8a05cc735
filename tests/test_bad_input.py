"""What users get wrong: one clear sentence, exit code 2, nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, refused


@pytest.fixture
def nothing_written(tmp_path):
    """Asserts afterwards that no folder of results or runs has appeared."""
    yield
    assert not any((tmp_path / name).exists() for name in ("checkpoint", "results"))


def training(call, folder, *words):
    return call("main", "--imgGTRoot", folder, "--n_feats", 8, "--n_resblocks", 0, "--threads", 0, *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--size", "60"], ["--size 60", "multiple of 8"]),
        (["--net", "edsr", "--size", "63"], ["--size 63", "multiple of 2", "--net edsr"]),
        (["--net", "unet"], ["'unet'", "qmar", "arcnn-FastARCNN"]),
        (["--net", "qmar-Other"], ["'qmar-Other'"]),
        (["--dataloader", "png"], ["'png'", "jpeg_qmg"]),
        (["--dataloader", "jpeg"], ["qmar", "jpeg_qm", "not jpeg"]),
        (["--loss", "SSIM"], ["'SSIM'", "L1, L2"]),
        (["--colorMode", "YCbCr"], ["'YCbCr'", "RGB, L"]),
        (["--schedule", "linear"], ["'linear'", "cosine"]),
        (["--precision", "fp16"], ["'fp16'", "bf16"]),
        (["--init", "zero"], ["'zero'", "identity"]),
        (["--in_channel", "9"], ["--in_channel 9", "5"]),
        (["--n_colors", "4"], ["--n_colors 4", "3"]),
        (["--quality", "0"], ["0", "1 to 100"]),
        (["--quality", "101"], ["101", "1 to 100"]),
        (["--quality", "[60,1]"], ["[60,1]", "LOW <= HIGH"]),
        (["--size", "512"], ["512 x 512"]),
        (["--lr", "1e30"], ["'1e30'", "above 0 and at most 1e+18"]),
        (["--lr", "0"], ["'0'", "not a number above 0 ("]),
        (["--holdout", "1"], ["--holdout", "at least 2"]),
        (["--holdout", "9"], ["--holdout 9", "holds no image out"]),
        (["--savedir", ""], ["after --savedir is empty", "variable"]),
        (["--savedir="], ["after --savedir=", "variable"]),
        (["--accumulate", "500"], ["--accumulate 500", "--batchSize is"]),
        (["--savedir", "x/.."], ["--savedir 'x/..'", "name a folder"]),
        (["--savedir", ".."], ["--savedir '..'", "name a folder"]),
        (["--validation", "--imgValidRoot", "none"], ["'none'", "does not exist", "--holdout"]),
        (["--pretrained", "none.pth"], ["none.pth", "does not exist"]),
        (["--resume", "none.pth"], ["none.pth", "does not exist"]),
        (["--unknown"], ["--unknown"]),
    ],
    ids=lambda value: "_".join(value) if isinstance(value[0], str) and value[0][:2] == "--" else "",
)
def test_training_options(call, folder_of_photos, nothing_written, words, expected):
    done = training(call, folder_of_photos, *words)
    messages = [line for line in done.err.replace("\r", "\n").splitlines() if "left out" not in line]
    done.err = "\n".join(line for line in messages if "decoding" not in line and line.strip())
    refused(done, *expected)


def test_training_folders(call, tmp_path, nothing_written):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    refused(training(call, "nowhere"), "'nowhere'", "does not exist")
    refused(training(call, "texts/a.txt"), "'texts/a.txt'", "is no folder")
    refused(training(call, "empty"), "'empty'", "no image")
    refused(training(call, "texts"), "'texts'", "no image")
    (tmp_path / "texts" / "a.png").write_text("a")
    done = training(call, "texts")
    assert (
        done.code == 2
        and "a.png" in done.err
        and done.err.strip().splitlines()[-1].startswith("error: none of the images")
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--gtdata", "nowhere"], ["'nowhere'", "LIVE1", "sample"]),
        (["--gtdata", "DIV2K"], ["DIV2K", "--dataroot", "fetch_data.py DIV2K"]),
        (["--gtdata", "empty"], ["'empty'", "no image"]),
        (["--gtdata", "sample", "--quality", "10,200"], ["200", "1 to 100"]),
        (["--gtdata", "sample", "--colorMode", "HSV"], ["'HSV'", "RGB, L"]),
        (["--gtdata", "sample", "--model", "none.pth"], ["'none.pth'", "does not exist"]),
        (["--gtdata", "sample", "--model", "text.pth"], ["'text.pth'", "can't be read"]),
    ],
)
def test_evaluation(call, tmp_path, nothing_written, words, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("text")
    refused(call("eval_qm", "--GT", *words), *expected)


def test_a_truncated_checkpoint(call, make_checkpoint, nothing_written):
    path = make_checkpoint("qmar")
    path.write_bytes(path.read_bytes()[:5000])
    refused(call("eval_qm", "--GT", "--gtdata", "sample", "--model", path), "can't be read", path.name)


def test_folders_that_can_not_be_written(call, folder_of_photos, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--save", "mine")
    assert done.code == 2 and "results" in done.err and "Traceback" not in done.err
    (tmp_path / "checkpoint").write_text("likewise")
    done = training(call, folder_of_photos)
    assert done.code == 2 and "checkpoint" in done.err and "Traceback" not in done.err
    if os.geteuid():  # root may write anywhere
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--json", locked / "out.json")
        assert done.code == 2 and "Permission denied" in done.err


def test_conversion(call, nothing_written):
    Path("text.pth").write_text("text")
    refused(call("convert", "text.pth", "new.pth"), "text.pth", "can't be read")
    assert not Path("new.pth").exists()


@pytest.mark.parametrize(("program", "package"), [("eval_qm", "torch"), ("restore", "PIL"), ("main", "tqdm")])
def test_a_missing_package_is_told_with_the_way_to_it(program, package):
    code = f"import sys; sys.path.insert(0, sys.argv[1]); sys.modules[{package!r}] = None\n"
    code += f"import {program}; from qgcn import cli; sys.exit(cli.run({program}.main, sys.argv[2:]))"
    words = {"restore": ["a.jpg"], "main": ["--imgGTRoot", "."], "eval_qm": []}[program]
    command = [sys.executable, "-c", code, str(ROOT / "src"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"the package {package} is not installed" in done.stderr and "requirements.txt" in done.stderr
