"""The paper's tables and figures as commands."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, refused
from PIL import Image

from qgcn.evaluating.report import FORMATS
from qgcn.paper.gains import trained_range
from qgcn.paper.record import Measured, Record, fingerprint, protocol_of
from qgcn.paper.tables import read_published, table_of


@pytest.fixture
def optional():
    """The optional packages of the tables and figures."""
    for package in ("jpeglib", "matplotlib"):
        pytest.importorskip(package, reason=f"the optional package {package} is not installed")


@pytest.fixture
def data(tmp_path, photo):
    """A data root with two small images in the place of each of the paper's sets."""
    for place in ("data/LIVE1", "data/BSDS500/test"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(photo[100 * i : 100 * i + 64, 80:152]).save(tmp_path / place / f"{i}.png")
    return tmp_path / "data"


def test_the_papers_tables_are_complete():
    for number, methods in (
        (1, ["JPEG", "AR-CNN", "EDSR", "QCN", "QGCN"]),
        (2, ["JPEG", "AR-CNN", "DnCNN-3", "CAS-CNN", "DMCNN", "IDCN", "RNAN", "QGCN"]),
    ):
        cells = read_published(number)
        assert len(cells) == 30 and all(list(cell.paper) == methods for cell in cells)
        assert {cell.data for cell in cells} == {"LIVE1", "BSDS500"}
    cell = read_published(1)[0]
    assert (cell.data, cell.quality, cell.metric, cell.paper["QGCN"]) == ("LIVE1", 10, "PSNR", "27.84")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2"])
def test_every_jpeg_cell_equals_the_paper(call, optional, shared_data, table):
    done = call("paper", table, "--columns", "JPEG", "--dataroot", shared_data)
    assert done.code == 0 and done.err.splitlines()[-1] == "30/30 JPEG cells equal the paper"


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_the_rows_in_docs_are_found_and_not_measured_again(call, optional, shared_data, table):
    shutil.copy(ROOT / "docs" / "results.csv", "rows.csv")
    done = call("paper", table, "--columns", "JPEG", "--dataroot", shared_data, "--per_image", "rows.csv")
    assert done.code == 0 and done.err.splitlines()[-1] == "30/30 JPEG cells equal the paper"
    assert Path("rows.csv").read_bytes() == (ROOT / "docs" / "results.csv").read_bytes()


def test_live1_in_colour_alone_has_another_ssim_in_the_papers_tables():
    window = {
        (data, mode): protocol_of("paper", data, mode).ssim for data in ("LIVE1", "BSDS500") for mode in ["RGB", "L"]
    }
    assert window.pop(("LIVE1", "RGB")) == "7x7" and set(window.values()) == {"8x8"}
    assert protocol_of("published", "LIVE1", "RGB").ssim == "8x8"
    assert protocol_of("paper", "LIVE1", "RGB").describe() == "paper (SSIM 7x7, PSNR-B summed over channels)"


def test_a_table_in_every_format():
    cell = read_published(2)[1]
    cell.ours.update({"JPEG": 0.79051, "QGCN_40k": 0.83})
    table = table_of(2, [cell], codec="a codec", protocol="paper")
    assert cell.jpeg_equals and cell.difference("JPEG") == "+0.0000" and cell.difference("QGCN_40k") == ""
    assert table.title.startswith("Table 2 (gray); codec a codec; protocol LIVE1: paper (SSIM 8x8")
    texts = {name: write(table) for name, write in FORMATS.items()}
    assert "| LIVE1 | 10 | SSIM | 0.7905 |" in texts["markdown"]
    assert "| 0.7905 | +0.0000 | 0.8300 |  |" in texts["markdown"]
    (line,) = csv.DictReader(io.StringIO(texts["csv"]))
    assert line["our QGCN_40k"] == "0.8300" and line["made with"] == table.title
    assert r"\begin{tabular}{lllrrrrrrrrrrrr}" in texts["latex"] and r"our QGCN\_40k" in texts["latex"]
    assert r"\textbf{0.8399}" in texts["latex"] and r"0.8300 &  \\" in texts["latex"]  # the paper's QGCN is the best


def test_a_table_holds_the_papers_columns_ours_and_the_difference(call, optional, data, make_checkpoint):
    path = make_checkpoint("qmar", identity=True)
    words = ["--model", f"QCN={path}", "--model", f"mine={path}", "--json", "cells.json"]
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


def test_generalization_is_measured_and_drawn(call, optional, data, make_checkpoint, folder_of_photos):
    path = make_checkpoint("qmar", identity=True)
    words = ["--model", f"QCN={path}", "--gtdata", folder_of_photos, "--quality", "10,50"]
    done = call("paper", "generalize", *words, "-o", "curve.png")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(Path("curve.csv").read_text())))
    assert [row["quality"] for row in rows] == ["10", "50"] and {row["QCN"] for row in rows} == {"0.0000"}
    assert Path("curve.png").stat().st_size > 5000


def test_what_a_csv_of_images_has_is_not_measured_again(call, optional, data, make_checkpoint, folder_of_photos):
    path = make_checkpoint("qmar", identity=True)
    words = ["--gtdata", folder_of_photos, "--quality", "10,50", "--per_image", "images.csv"]
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


def test_pictures_go_to_results_where_nothing_else_is_said(call, optional, make_checkpoint, folder_of_photos):
    path, image = make_checkpoint("qmar", identity=True), folder_of_photos / "0.png"
    assert call("paper", "figures").code == 0
    assert call("paper", "compare", image, "--model", f"QCN={path}").code == 0
    words = ["--model", f"QCN={path}", "--gtdata", folder_of_photos, "--quality", 10]
    assert call("paper", "generalize", *words).code == 0
    names = sorted(file.name for file in Path("results").iterdir())
    assert names == ["compare.png", "generalize.csv", "generalize.png", "qmap.png"]
    done = call("paper", "figures", "-o", "maps.png")
    assert done.out == "wrote maps.png\n" and Path("maps.png").stat().st_size > 10_000


def test_the_trained_range_is_read_from_both_kinds_of_options():
    assert trained_range([1, 60]) == trained_range("[1,60]") == (1, 60)
    assert trained_range("10") == (10, 10) and trained_range(None) is None


def test_two_measurements_may_keep_one_record(tmp_path):
    records = [Record(tmp_path / "rows.csv") for _ in range(2)]
    figures = {"psnr": 30.0, "ssim": 0.9, "psnr_b": 29.0}
    for number, record in enumerate(records):
        record.add({Measured("LIVE1", "RGB", 10, "a codec", "a protocol", "", f"{number}.bmp", "0"): ("JPEG", figures)})
    assert [key.image for key in Record(tmp_path / "rows.csv").rows] == ["0.bmp", "1.bmp"]
    assert len(records[1].rows) == 2
