"""Evaluation: protocol, tables, files, and the golden figures of the sample photographs."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, network_arguments, refused
from PIL import Image

from qgcn import checkpoints, nets
from qgcn.dataset.inputs import scale, unscale
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.evaluate import evaluate, evaluate_image, restore_compressed
from qgcn.evaluating.metrics import get_protocol, psnr, psnr_b, ssim
from qgcn.jpeg.codec import PillowCodec
from qgcn.restoring.model import load_model
from qgcn.utils.errors import UserError
from qgcn.utils.image import SAMPLE, luminance

GOLDEN = Path(__file__).parent / "golden"
CPU = torch.device("cpu")


def figures(path):
    content = json.loads(Path(path).read_text())
    return content if isinstance(content, list) else [content]


def waves(tensor):
    return torch.cos(1.7 * torch.arange(tensor.numel(), dtype=torch.float64)).reshape(tensor.shape)


@torch.no_grad()
def fixed_checkpoint(name, channels):
    """A checkpoint near the identity whose every weight is written down here, whatever torch draws at random."""
    arguments = network_arguments(name, channels, n_feats=8)
    network = nets.build(name, arguments)
    for parameter in network.parameters():
        parameter.copy_(0.05 * waves(parameter))
    network.initialise_identity()
    for parameter in network.parameters():
        parameter += 0.01 * waves(parameter)
    path = Path(f"{name}_{channels}_fixed.pth")
    checkpoints.save(path, checkpoints.describe(network, name, arguments, {"net": name}, 1))
    return path


@pytest.mark.parametrize(("script", "name", "channels"), [("eval_qm", "qmar", 3), ("eval_qmg", "qmarg", 1)])
def test_the_sample_photographs_give_the_golden_figures(call, script, name, channels):
    """Regenerate with: QGCN_REGENERATE=1 python -m pytest tests/test_evaluation.py (having seen why they differ)."""
    path = fixed_checkpoint(name, channels)
    done = call(script, "--GT", "--gtdata", "sample", "--model", path, "--quality", "10,50", "--json", "found.json")
    assert done.code == 0, done.err
    kept = [{key: one[key] for key in ("data", "quality", "images", "mean")} for one in figures("found.json")]
    golden_file = GOLDEN / f"sample_{name}_{channels}.json"
    if os.environ.get("QGCN_REGENERATE"):
        golden_file.write_text(json.dumps(kept, indent=1) + "\n")
    golden = json.loads(golden_file.read_text())
    assert [one["quality"] for one in kept] == [one["quality"] for one in golden] == [10, 50]
    tolerance = {"psnr": 0.02, "ssim": 0.0005, "psnr_b": 0.05}  # JPEG libraries of other versions, float rounding
    for found, expected in zip(kept, golden, strict=True):
        assert found["data"] == expected["data"] and [row["name"] for row in found["images"]] == list(SAMPLE)
        found_rows, expected_rows = [*found["images"], found["mean"]], [*expected["images"], expected["mean"]]
        for row, expected_row in zip(found_rows, expected_rows, strict=True):
            for which in ("compressed", "restored"):
                assert row[which] == {
                    metric: pytest.approx(value, abs=tolerance[metric]) for metric, value in expected_row[which].items()
                }
            changed = abs(row["restored"]["psnr"] - row["compressed"]["psnr"])
            assert changed > 2 * tolerance["psnr"]  # the network does something


def test_a_data_set_is_never_taken_for_another_part_of_its_release(photo):
    for place in ("DIV2K/DIV2K_train_HR", "BSDS500/data/images/train", "LIVE1/jpeg", "LIVE1/refimgs"):
        Path("data", place).mkdir(parents=True)
        Image.fromarray(photo).save(Path("data", place, "a.png"))
    for name in ("DIV2K", "BSDS500"):
        with pytest.raises(UserError, match=f"{name} is not in 'data'"):
            find_images(name, "data")
    assert find_images("LIVE1", "data") == ([Path("data/LIVE1/refimgs/a.png")], Path("data/LIVE1/refimgs"))
    Path("data/BSDS500/data/images/test").mkdir()
    Image.fromarray(photo).save("data/BSDS500/data/images/test/b.png")
    assert [file.name for file in find_images("BSDS500", "data")[0]] == ["b.png"]


def test_names_that_are_no_text_are_evaluated_and_told(call, folder_of_photos):
    os.rename(folder_of_photos / "1.png", os.fsencode(folder_of_photos) + b"/\xe9\xff.png")
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", "none", "--save", "pictures")
    assert done.code == 0 and r"\xe9\xff.png" in done.out, done.err
    assert r"\xe9\xff.png" in Path("results/pictures/quality_10/metrics.csv").read_text()


def test_figures_follow_the_protocol_step_by_step(call, folder_of_photos, photo):
    odd = folder_of_photos / "odd.png"
    Image.fromarray(photo[:75, :101]).save(odd)
    for script, padded in (("eval_qm", True), ("eval", False)):
        for mode in ("RGB", "L"):
            done = call(
                script,
                "--GT",
                "--gtdata",
                folder_of_photos,
                "--model",
                "none",
                "--colorMode",
                mode,
                "--json",
                "out.json",
            )
            assert done.code == 0, done.err
            (found,) = figures("out.json")
            (row,) = [row for row in found["images"] if row["name"] == "odd.png"]
            truth = photo[:75, :101] if mode == "RGB" else luminance(photo[:75, :101])[..., None]
            source = np.pad(truth, ((0, 5), (0, 3), (0, 0)), mode="edge") if padded else truth
            Image.fromarray(source if mode == "RGB" else source[..., 0]).save("by_hand.jpg", quality=10)
            decoded = np.asarray(Image.open("by_hand.jpg")).reshape(source.shape)[:75, :101]
            expected = {"psnr": psnr(decoded, truth), "ssim": ssim(decoded, truth), "psnr_b": psnr_b(decoded, truth)}
            assert row == {"name": "odd.png", "compressed": expected, "restored": None}
            assert found["mean"]["compressed"]["psnr"] == pytest.approx(
                np.mean([image["compressed"]["psnr"] for image in found["images"]])
            )


@pytest.mark.parametrize(("script", "net"), [("eval_qm", "qmar"), ("eval_qmg", "qmarg"), ("eval", "edsr")])
def test_an_identity_network_gives_the_jpegs_own_figures(call, folder_of_photos, make_checkpoint, script, net):
    path = make_checkpoint(net, identity=True)
    done = call(
        script, "--GT", "--gtdata", folder_of_photos, "--model", path, "--quality", "10,50", "--json", "out.json"
    )
    assert done.code == 0, done.err
    both = figures("out.json")
    assert [one["quality"] for one in both] == [10, 50]
    for one in both:
        assert len(one["images"]) == 6
        for row in [*one["images"], one["mean"]]:
            assert row["restored"] == row["compressed"]
    assert "+0.00" in done.out and done.out.count("mean") == 2


def test_odd_edges_stay_as_compressed_in_eval(photo, make_checkpoint):
    model = load_model(make_checkpoint("edsr"), CPU)
    compressed = PillowCodec().compress(photo[:35, :45], 10)
    restored = restore_compressed(model, compressed)
    assert np.array_equal(restored[34:], compressed.pixels[34:])
    assert np.array_equal(restored[:, 44:], compressed.pixels[:, 44:])
    even = torch.tensor(compressed.pixels[:34, :44]).permute(2, 0, 1)[None]  # no whole blocks: as it is
    with torch.inference_mode():
        expected = unscale(model.network(scale(even)))[0].permute(1, 2, 0).clamp(0, 255).round().numpy()
    assert np.array_equal(restored[:34, :44], expected)
    assert not np.array_equal(restored[:34, :44], compressed.pixels[:34, :44])


def test_pictures_and_tables_are_saved_by_name(call, folder_of_photos, make_checkpoint):
    path = make_checkpoint("qmar", identity=True)
    done = call(
        "eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", path, "--save", "mine", "--quality", "10,30"
    )
    assert done.code == 0 and "results/mine" in done.out
    for quality in (10, 30):
        place = Path("results/mine") / f"quality_{quality}"
        for which in ("compressed", "restored"):
            names = sorted(file.relative_to(place / which).as_posix() for file in (place / which).rglob("*.png"))
            assert names == ["0.png", "1.png", "2.png", "3.png", "nested/4.png", "nested/5.png"]
        with open(place / "metrics.csv", newline="") as file:
            table = list(csv.DictReader(file))
        assert [row["image"] for row in table][-2:] == ["nested/5.png", "mean"]
        truth = np.asarray(Image.open(folder_of_photos / "0.png"))
        saved = np.asarray(Image.open(place / "compressed" / "0.png"))
        assert float(table[0]["compressed_psnr"]) == pytest.approx(psnr(saved, truth))


def test_a_place_that_takes_no_pictures_is_told_before_the_work(call, folder_of_photos):
    Path("results").write_text("a file")
    refused(call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", "none", "--save", "mine"), "results/mine")


def test_data_sets_are_found_under_the_data_root(call, folder_of_photos, tmp_path):
    (tmp_path / "data" / "BSDS500").mkdir(parents=True)
    folder_of_photos.rename(tmp_path / "data" / "BSDS500" / "test")
    done = call("eval_qm", "--GT", "--gtdata", "BSDS500", "--model", "none")
    assert done.code == 0 and "BSDS500 RGB, quality 10" in done.out and "libjpeg" in done.out
    assert call("eval_qm", "--GT", "--gtdata", "BSDS500", "--dataroot", tmp_path / "data", "--model", "none").code == 0
    refused(call("eval_qm", "--GT", "--gtdata", "LIVE1"), "LIVE1", "fetch_data.py LIVE1", "--dataroot")


def test_the_model_says_which_script_and_colour_mode_it_is_for(call, folder_of_photos, make_checkpoint):
    gray = make_checkpoint("qmar", 1, identity=True)
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", gray)
    assert done.code == 0 and "--colorMode L" in done.err and f"{folder_of_photos} L, quality 10" in done.out
    refused(call("eval", "--GT", "--gtdata", folder_of_photos, "--model", gray), "QCN", "eval_qm.py")
    refused(call("eval_qmg", "--GT", "--gtdata", folder_of_photos, "--model", gray), "QCN", "eval_qm.py")
    edsr = make_checkpoint("edsr")
    refused(call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", edsr), "EDSR", "eval.py")


def test_model_none_reports_the_jpeg_alone(call, folder_of_photos):
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", "none")
    assert done.code == 0 and "JPEG alone" in done.out and "gain" not in done.out and done.out.count("PSNR-B") == 2


@pytest.mark.parametrize(("script", "name"), [("eval_qm", "qcn_rgb"), ("eval_qmg", "qgcn_rgb")])
def test_a_script_takes_the_checkpoint_shipped_for_it(call, folder_of_photos, script, name):
    done = call(script, "--GT", "--gtdata", folder_of_photos)
    assert done.code == 0 and f"checkpoint/{name}.pth" in done.out.splitlines()[0] and "gain" in done.out


def test_where_no_checkpoint_is_shipped_one_must_be_given(call, folder_of_photos):
    refused(
        call("eval", "--GT", "--gtdata", folder_of_photos, "--colorMode", "L"),
        "eval.py",
        "--colorMode L",
        "--model none",
    )


def test_json_holds_one_quality_or_a_list_of_several(call, folder_of_photos, make_checkpoint):
    words = ["--GT", "--gtdata", folder_of_photos, "--model", make_checkpoint("qmar"), "--json"]
    assert call("eval_qm", *words, "new/one.json").code == 0
    assert call("eval_qm", *words, "list.json", "--quality", "[30,10]").code == 0
    one, several = json.loads(Path("new/one.json").read_text()), json.loads(Path("list.json").read_text())
    assert isinstance(one, dict) and [outcome["quality"] for outcome in several] == [30, 10] and several[1] == one
    assert one.keys() >= {"data", "quality", "codec", "net", "images", "mean"} and "libjpeg" in one["codec"]
    assert "QCN" in one["net"] and str(folder_of_photos) in one["data"]
    assert [row["name"] for row in one["images"]] == [f"{i}.png" for i in range(4)] + ["nested/4.png", "nested/5.png"]
    for row in [*one["images"], one["mean"]]:
        for which in ("compressed", "restored"):
            assert row[which].keys() == {"psnr", "ssim", "psnr_b"}
    for which in ("compressed", "restored"):
        for name in ("psnr", "ssim", "psnr_b"):
            mean = sum(row[which][name] for row in one["images"]) / 6
            assert one["mean"][which][name] == pytest.approx(mean, rel=1e-12)


def test_an_image_that_can_not_be_read_ends_the_evaluation(call, folder_of_photos):
    (folder_of_photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--json", "out.json")
    assert done.code == 2 and "broken.png" in done.err and not Path("out.json").exists()


def test_a_users_jpegs_are_restored_with_their_own_tables(call, tmp_path, photo, make_checkpoint):
    testdata = tmp_path / "testdata"
    testdata.mkdir()
    for quality in (10, 90):
        Image.fromarray(photo[:50, :70]).save(testdata / f"{quality}.jpg", quality=quality)
    path = make_checkpoint("qmar")
    done = call("eval_qm", "--model", path, "--save", "mine")
    assert done.code == 0, done.err
    model = load_model(path, CPU)
    for quality in (10, 90):
        saved = np.asarray(Image.open(f"results/mine/{quality}.png"))
        compressed = PillowCodec().compress(photo[:50, :70], quality)
        assert np.array_equal(saved, np.rint(model.restore(compressed)).astype(np.uint8))
    assert call("eval_qm", "--model", path).code == 0 and Path("results/eval_qm/10.png").exists()
    refused(call("eval_qm", "--model", path, "--realdatapath", "none"), "none", "does not exist", "--GT")
    refused(call("eval_qm", "--model", "none"), "--model none")
    refused(call("eval_qm", "--model", path, "--json", "out.json"), "--json out.json", "--GT")


def test_two_processes_give_the_same_table(folder_of_photos, call, make_checkpoint):
    path = make_checkpoint("qmar")
    words = ["--GT", "--gtdata", folder_of_photos, "--model", path, "--json"]
    assert call("eval_qm", *words, "one.json").code == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [ROOT / "src" / "eval_qm.py", *words, "two.json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert figures("one.json") == figures("two.json")
    assert done.stdout.count("mean") == 1


def test_the_papers_jpeg_columns_in_gray(call, shared_data):
    # Table II, JPEG at quality 10; gray does not depend on the codec.
    done = call(
        "eval_qm",
        "--GT",
        "--model",
        "none",
        "--gtdata",
        "LIVE1",
        "--dataroot",
        shared_data,
        "--colorMode",
        "L",
        "--json",
        "out.json",
    )
    mean = figures("out.json")[0]["mean"]["compressed"]
    assert done.code == 0 and (round(mean["psnr"], 2), round(mean["ssim"], 4), round(mean["psnr_b"], 2)) == (
        27.77, 0.7905, 25.33,
    )  # fmt: skip


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


def test_a_data_set_has_the_same_figures_by_name_and_by_path(call, tmp_path, folder_of_photos):
    (tmp_path / "data").mkdir()
    folder_of_photos.rename(tmp_path / "data" / "LIVE1")
    for data, file in (("LIVE1", "name.json"), ("data/LIVE1", "path.json")):
        words = ["--gtdata", data, "--protocol", "paper", "--model", "none"]
        assert call("eval_qm", "--GT", *words, "--json", file).code == 0
    (by_name,), (by_path,) = figures("name.json"), figures("path.json")
    assert by_name["images"] == by_path["images"]
    assert by_name["protocol"] == by_path["protocol"] == "paper (SSIM 8x8, PSNR-B summed over channels)"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_threads_beside_the_network_change_nothing(folder_of_photos, make_checkpoint, mode):
    model = load_model(make_checkpoint("qmar", 3 if mode == "RGB" else 1), CPU)
    files, root = find_images(str(folder_of_photos), "")
    metrics, codec = get_protocol("paper").metrics(), PillowCodec()
    how = {"mode": mode, "quality": 10, "codec": codec, "metrics": metrics, "root": root}
    assert evaluate(files, model, **how, workers=2) == evaluate(files, model, **how)


def test_whole_blocks_are_compressed_for_networks_that_take_tables(photo, make_checkpoint):
    class Recorder(PillowCodec):
        def compress(self, pixels, quality):
            shapes.append(pixels.shape[:2])
            return super().compress(pixels, quality)

    shapes, how = [], {"quality": 10, "codec": Recorder(), "metrics": {"psnr": psnr}}
    for name in ("qmar", "edsr"):
        evaluate_image(photo[:75, :101], load_model(make_checkpoint(name), CPU), **how)
    for padded in (True, False):  # the JPEG alone
        evaluate_image(photo[:75, :101], None, **how, padded=padded)
    assert shapes == [(80, 104), (75, 101), (80, 104), (75, 101)]


def test_the_demo_restores_the_samples_and_shows_them_side_by_side(call):
    (command,) = re.findall(r"^demo:.*\n\t\$\(RUN\) src/(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    script, *words = command.split()
    done = call(script.removesuffix(".py"), *words)
    assert done.code == 0, done.err
    assert "results/demo/quality_10/comparison.png" in done.out
    (mean,) = [line.split() for line in done.out.splitlines() if line.startswith("mean")]
    psnr, restored, gain = (float(figure) for figure in mean[1:4])
    assert gain > 0.8 and abs(restored - psnr - gain) < 0.015  # dB; each is rounded to two digits
    with Image.open("results/demo/quality_10/comparison.png") as picture:
        assert picture.width > 1000 and picture.height > 1000
