"""The demonstration that `make demo` runs."""

from PIL import Image

from qgcn.paper.pictures import largest_gain


def test_the_demo_restores_the_samples_and_writes_a_picture(call):
    done = call("demo")
    assert done.code == 0, done.err
    assert "results/demo/comparison.png" in done.out
    (mean,) = [line.split() for line in done.out.splitlines() if line.startswith("mean")]
    psnr, restored, gain = (float(figure) for figure in mean[1:4])
    assert gain > 0.8 and abs(restored - psnr - gain) < 0.015  # dB; each is rounded to two digits
    with Image.open("results/demo/comparison.png") as picture:
        assert picture.width > 1000 and picture.height > 1000


def test_the_largest_gain_is_found(photo):
    compressed = photo.copy()
    compressed[100:130, 200:240] ^= 15
    restored = compressed.copy()
    restored[110:120, 210:230] = photo[110:120, 210:230]
    left, top, width, height = largest_gain(photo, compressed, restored, (20, 10))
    assert (left, top, width, height) == (210, 110, 20, 10)
