"""The paper's tables and figures as commands, and the field's protocol against published figures."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from qgcn import nets
from qgcn.evaluating.metrics import PROTOCOLS, psnr_b, psnr_b_luminance, ssim, ssim_7x7, ssim_gaussian
from qgcn.paper import comparison, figures
from qgcn.paper.measurement import Measured, Record, fingerprint


@pytest.fixture
def optional():
    """The optional packages of the tables and figures."""
    for package in ("jpeglib", "matplotlib"):
        pytest.importorskip(package, reason=f"the optional package {package} is not installed")


@pytest.fixture
def data(tmp_path, photo, monkeypatch):
    """A data root with two small images in the place of each of the paper's sets."""
    for place in ("data/LIVE1", "data/BSDS500/test"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(photo[100 * i : 100 * i + 64, 80:152]).save(tmp_path / place / f"{i}.png")
    monkeypatch.setattr("paper.FIGURES", tmp_path / "figs")
    return tmp_path / "data"


def test_the_papers_tables_are_complete():
    for number, methods in (
        (1, ("JPEG", "AR-CNN", "EDSR", "QCN", "QGCN")),
        (2, ("JPEG", "AR-CNN", "DnCNN-3", "CAS-CNN", "DMCNN", "IDCN", "RNAN", "QGCN")),
    ):
        published = comparison.read_published(number)
        assert published.methods == methods and len(published.rows) == 30
        assert {key[0] for key in published.rows} == {"LIVE1", "BSDS500"}
    assert comparison.read_published(1).rows["LIVE1", 10, "PSNR"]["QGCN"] == "27.84"


def test_protocols_are_data():
    assert PROTOCOLS["paper"].ssim_window("LIVE1", "RGB") == "7x7"
    assert {PROTOCOLS["paper"].ssim_window(*key) for key in (("LIVE1", "L"), ("BSDS500", "RGB"), ("BSDS500", "L"))} == {
        "8x8"
    }
    assert PROTOCOLS["published"].ssim_window("LIVE1", "RGB") == "8x8"
    assert PROTOCOLS["published"].metrics("LIVE1", "RGB")["ssim"] is ssim
    assert PROTOCOLS["paper"].metrics("LIVE1", "RGB")["ssim"] is ssim_7x7
    field = PROTOCOLS["field"].metrics("LIVE1", "RGB")
    assert field["ssim"] is ssim_gaussian and field["psnr_b"] is psnr_b_luminance
    assert "11x11 Gaussian" in PROTOCOLS["field"].describe("LIVE1", "L")


def test_gaussian_ssim_agrees_with_the_definition(photo):
    from scipy.ndimage import correlate1d

    truth = photo[:40, :50].astype(np.uint8)
    image = np.clip(truth.astype(int) + np.random.default_rng(0).integers(-20, 21, truth.shape), 0, 255).astype(
        np.uint8
    )
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights /= weights.sum()
    values = []
    for c in range(3):
        x, y = image[..., c].astype(float), truth[..., c].astype(float)
        blur = lambda z: correlate1d(correlate1d(z, weights, 0), weights, 1)[5:-5, 5:-5]  # noqa: E731
        mx, my = blur(x), blur(y)
        sxx, syy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sxx + syy + c2)))
    assert ssim_gaussian(image, truth) == pytest.approx(np.mean(values), abs=1e-6)


def test_the_blocking_term_of_y_is_that_of_gray(photo):
    gray = photo[:64, :64, :1]
    noisy = np.clip(gray.astype(int) + 9, 0, 255).astype(np.uint8)
    assert psnr_b_luminance(noisy, gray) == psnr_b(noisy, gray)
    colour, noisy_colour = photo[:64, :64], photo[:64, :64] // 16 * 16
    assert psnr_b_luminance(noisy_colour, colour) != psnr_b(noisy_colour, colour)


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", ("27.77", "0.773", "25.33")), ("RGB", ("25.69", "0.743", "24.20"))]
)
def test_the_fields_published_figures_of_the_jpeg(call, shared_data, mode, expected):
    words = [
        "--gtdata",
        "LIVE1",
        "--dataroot",
        shared_data,
        "--protocol",
        "field",
        "--colorMode",
        mode,
        "--model",
        "none",
    ]
    assert call("eval_qm", "--GT", *words, "--json", "out.json").code == 0
    found = json.loads(Path("out.json").read_text())
    mean = found["mean"]["compressed"]
    assert (f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}", f"{mean['psnr_b']:.2f}") == expected
    assert found["protocol"].startswith("field")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2"])
def test_every_jpeg_cell_equals_the_paper(call, optional, shared_data, table):
    done = call("paper", table, "--columns", "JPEG", "--dataroot", shared_data)
    assert done.code == 0 and done.err.splitlines()[-1] == "30/30 JPEG cells equal the paper"


def test_a_table_holds_the_papers_columns_ours_and_the_difference(call, optional, data, make_checkpoint):
    path = make_checkpoint("qmar", identity=True)
    words = ["--model", f"QCN={path}", "--model", f"mine={path}", "--json", "cells.json", "--figure", "--workers", 1]
    done = call("paper", "table1", *words, "--format", "csv")
    lines = done.out.splitlines()
    assert done.code == 1 and done.err.splitlines()[-1].endswith(
        "/30 JPEG cells equal the paper"
    )  # these are not the paper's images
    table = list(csv.DictReader(io.StringIO("\n".join(lines[:31]))))
    assert len(table) == 30 and "7x7" in table[0]["made with"] and "IJG libjpeg 9d" in table[0]["made with"]
    cells = json.loads(Path("cells.json").read_text())["cells"]
    for row, cell in zip(table, cells, strict=True):
        assert row["our JPEG"] == row["our QCN"] == row["our mine"]  # the identity restores nothing
        assert float(row["our QCN"]) == pytest.approx(cell["ours"]["QCN"], abs=0.006)
        assert row["QCN"] == cell["paper"]["QCN"]
    assert Path("figs/table1.png").stat().st_size > 10_000


def test_tables_in_every_format():
    published = comparison.read_published(2)
    cell = comparison.Cell("LIVE1", 10, "SSIM", published.rows["LIVE1", 10, "SSIM"], {"JPEG": 0.79051, "QGCN": 0.83})
    table = comparison.Table("title", published, ("JPEG", "QGCN"), (cell,))
    assert cell.jpeg_equals and cell.difference("QGCN") == "-0.0099"
    assert "| LIVE1 | 10 | SSIM | 0.7905 |" in comparison.markdown(table)
    assert "| 0.7905 | +0.0000 | 0.8300 | -0.0099 |" in comparison.markdown(table)
    assert r"0.8300 & -0.0099 \\" in comparison.latex(
        table
    ) and r"\begin{tabular}{lllrrrrrrrrrrrr}" in comparison.latex(table)


def test_generalization_is_measured_and_drawn(call, optional, data, make_checkpoint, folder_of_photos):
    path = make_checkpoint("qmar", identity=True)
    words = ["--model", f"QCN={path}", "--gtdata", folder_of_photos, "--quality", "10,50", "--workers", 1]
    done = call("paper", "generalize", *words, "-o", "curve.png")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(Path("curve.csv").read_text())))
    assert [row["quality"] for row in rows] == ["10", "50"] and {row["QCN"] for row in rows} == {"0.0000"}
    assert Path("curve.png").stat().st_size > 5000


def test_what_a_csv_of_images_has_is_not_measured_again(call, optional, data, make_checkpoint, folder_of_photos):
    path = make_checkpoint("qmar", identity=True)
    words = ["--gtdata", folder_of_photos, "--quality", "10,50", "--workers", 1, "--per_image", "images.csv"]
    assert call("paper", "generalize", "--model", f"QCN={path}", *words, "-o", "a.png").code == 0
    text = Path("images.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    images = {path.relative_to(folder_of_photos).as_posix() for path in Path(folder_of_photos).rglob("*.png")}
    assert {row["image"] for row in rows} == images and len(rows) == 2 * 2 * len(images)  # JPEG and QCN
    assert {(row["method"], row["checkpoint"]) for row in rows} == {("JPEG", ""), ("QCN", fingerprint(path))}
    of_jpeg, of_qcn = ([row for row in rows if row["method"] == method] for method in ("JPEG", "QCN"))
    assert [row["psnr"] for row in of_jpeg] == [row["psnr"] for row in of_qcn]  # the identity restores nothing

    kept = text.replace(f",QCN,{of_qcn[0]['psnr']}", ",QCN,99.000000")  # a wrong row shows who reads it
    assert kept != text
    Path("images.csv").write_text(kept)
    assert call("paper", "generalize", "--model", f"QCN={path}", *words, "-o", "b.png").code == 0
    assert Path("images.csv").read_text() == kept
    assert Path("a.csv").read_text() != Path("b.csv").read_text()

    lines = text.splitlines(keepends=True)  # a measurement that was stopped goes on and ends the same
    Path("images.csv").write_text("".join(lines[:1] + lines[2::3]))
    assert call("paper", "generalize", "--model", f"QCN={path}", *words, "-o", "b.png").code == 0
    assert Path("images.csv").read_text() == text

    other = make_checkpoint("edsr", identity=True)  # another checkpoint: measured, and the old rows stay
    assert call("paper", "generalize", "--model", f"QCN={other}", *words, "-o", "c.png").code == 0
    assert len(list(csv.DictReader(io.StringIO(Path("images.csv").read_text())))) == 3 * 2 * len(images)

    refused(call("paper", "generalize", "--model", f"QCN={path}", *words, "-o", "images.png"), "images.csv", "input")
    assert len(list(csv.DictReader(io.StringIO(Path("images.csv").read_text())))) == 3 * 2 * len(images)

    Path("notes.csv").write_text("my,notes\n1,2\n")
    refused(call("paper", "generalize", "--model", f"QCN={path}", *words[:-1], "notes.csv"), "notes.csv", "--per_image")
    assert Path("notes.csv").read_text() == "my,notes\n1,2\n"


def test_the_trained_range_is_read_from_both_kinds_of_options():
    assert comparison._trained_range([1, 60]) == comparison._trained_range("[1,60]") == (1, 60)
    assert comparison._trained_range("10") == (10, 10) and comparison._trained_range(None) is None


def test_a_comparison_shows_every_method(call, data, make_checkpoint, folder_of_photos):
    path, image = make_checkpoint("qmar", identity=True), folder_of_photos / "0.png"
    done = call("paper", "compare", image, "--model", f"QCN={path}", "--crop", "8,16,40,32", "-o", "picture.png")
    assert done.code == 0, done.err
    with Image.open("picture.png") as picture:
        assert picture.width > 3 * 120 and picture.height > 96
    refused(call("paper", "compare", image, "--model", f"QCN={path}", "--crop", "100,0,64,64"), "--crop", "128 x 96")


def test_what_users_get_wrong(call, data, make_checkpoint, folder_of_photos):
    path = make_checkpoint("qmar")
    image = folder_of_photos / "0.png"
    refused(call("paper", "table1", "--model", path), "NAME=PATH")
    refused(call("paper", "table1", "--model", "QCN=none.pth"), "none.pth", "does not exist")
    refused(call("paper", "table2", "--model", f"QCN={path}", "--codec", "pillow"), "colour", "another table")
    refused(call("paper", "table1", "--columns", "PSNR"), "'PSNR'", "JPEG")
    refused(call("paper", "table1", "--columns", "JPEG", "--model", f"QCN={path}"), "--columns JPEG", "--model")
    refused(call("paper", "generalize"), "--model NAME=PATH")
    refused(call("paper", "compare", image), "--model NAME=PATH")
    refused(call("paper", "compare", "none.png", "--model", f"QCN={path}"), "none.png", "does not exist")
    refused(call("paper", "table3"), "table3")
    for words in (
        ("compare", image, "--model", f"QCN={path}", "-o", image),
        ("generalize", "--gtdata", folder_of_photos, "--model", f"QCN={path}", "-o", image),
    ):
        before = image.read_bytes()
        refused(call("paper", *words), "0.png", "is an input")
        assert image.read_bytes() == before
    refused(call("paper", "compare", image, "--model", f"QCN={path}", "-o", "out.jpg"), "out.jpg", ".png")
    refused(call("paper", "compare", image, "--model", f"QCN={path}", "--quality", "10,20"), "10,20")
    refused(call("paper", "table1", "--json", image), "0.png", ".json")
    refused(call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--json", image), "0.png", ".json")


def test_figures_are_drawn_from_the_live_modules(call, optional, data):
    done = call("paper", "figures")
    assert done.code == 0 and Path("figs/qmap.png").exists() and Path("figs/network.png").exists()
    network = nets.build("qmarg", {"in_channel": 5, "out_channel": 3, "n_feats": 32, "n_resblocks": 6})
    assert "3 residual blocks" in figures.describe(network.residual1)
    assert figures.describe(network.conv_input) == "3x3\n5 → 32"
    assert figures.describe(network.conv_global_l) == "linear 6272 → 1024\nReLU\nlinear 1024 → 32"


def test_two_measurements_may_keep_one_record(tmp_path):
    records = [Record(tmp_path / "rows.csv") for _ in range(2)]
    figures = {"psnr": 30.0, "ssim": 0.9, "psnr_b": 29.0}
    for number, record in enumerate(records):
        record.add({Measured("LIVE1", "RGB", 10, "a codec", "a protocol", "", f"{number}.bmp", "0"): ("JPEG", figures)})
    assert [key.image for key in Record(tmp_path / "rows.csv").rows] == ["0.bmp", "1.bmp"]
    assert len(records[1].rows) == 2
