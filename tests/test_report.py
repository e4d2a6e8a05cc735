"""Tables of rows in every format."""

import json
import math

from qgcn.evaluating.report import Table, comma_separated, json_text, latex, markdown, outcome_of, rounded, terminal

TABLE = Table(
    "a title", ["data", "quality", "A&B", "mine", "diff."], [["x_1", "10", "27.70", "27.71", "+0.01"]], 2, (2, 3)
)


def test_latex_has_rules_of_booktabs_and_the_best_in_bold():
    assert latex(TABLE).splitlines() == [
        "% a title",
        r"\begin{tabular}{llrrr}",
        r"\toprule",
        r"data & quality & A\&B & mine & diff. \\",
        r"\midrule",
        r"x\_1 & 10 & 27.70 & \textbf{27.71} & +0.01 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_what_latex_would_read_is_escaped_and_equals_are_all_best():
    text = latex(Table("", ["\\^~#%{}$", "B"], [["1.0", "1.0"]], 0, (0, 1)))
    assert r"\textbackslash{}\textasciicircum{}\textasciitilde{}\#\%\{\}\$ & B \\" in text
    assert r"\textbf{1.0} & \textbf{1.0} \\" in text


def test_markdown_and_csv():
    assert markdown(TABLE).splitlines()[2:] == [
        "| data | quality | A&B | mine | diff. |",
        "| --- | --- | --- | --- | --- |",
        "| x_1 | 10 | 27.70 | 27.71 | +0.01 |",
    ]
    assert comma_separated(TABLE) == ("data,quality,A&B,mine,diff.,made with\nx_1,10,27.70,27.71,+0.01,a title\n")


def test_the_terminal_shows_the_mean_below_a_rule():
    rows = [
        {"name": name, "compressed": {"psnr": psnr, "ssim": 0.5, "psnr_b": 20.0}, "restored": None}
        for name, psnr in (("a.png", 30.0), ("long.png", 31.0))
    ]
    outcome = outcome_of(rows, {"data": "set RGB", "quality": 10, "codec": "c", "protocol": "p", "net": "JPEG alone"})
    assert terminal(rounded(outcome)).splitlines() == [
        "set RGB, quality 10, JPEG alone",
        "codec c; protocol p",
        "-------------------------------",
        "image      PSNR    SSIM  PSNR-B",
        "-------------------------------",
        "a.png     30.00  0.5000   20.00",
        "long.png  31.00  0.5000   20.00",
        "-------------------------------",
        "mean      30.50  0.5000   20.00",
    ]


def test_json_has_null_for_what_is_no_number():
    assert json.loads(json_text({"ssim": [math.nan, 0.5]})) == {"ssim": [None, 0.5]}
