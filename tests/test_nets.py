"""Networks against the published description: names, shapes, forward, initialisation."""

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import network_arguments
from PIL import Image
from torch import nn
from torch.nn import functional

import params
from qgcn import checkpoints, nets
from qgcn.checkpoints.published import infer_arguments
from qgcn.nets import arcnn, base, edsr, qmar
from qgcn.training.optimizer import build_optimizer
from qgcn.training.transfer import gray_arguments, gray_weights
from qgcn.utils.errors import UserError

GOLDEN = Path(__file__).parent / "golden" / "state_dicts.json"

FULL = {
    "qmar": {"in_channel": 5, "out_channel": 3},
    "qmarg": {"in_channel": 5, "out_channel": 3},
    "edsr": {"in_channel": 3, "out_channel": 3},
    "arcnn": {"channels": 3},
    "arcnn-FastARCNN": {"channels": 3},
}


def random_network(name, channels=3, **changes):
    torch.manual_seed(1)
    network = nets.build(name, network_arguments(name, channels, **changes)).double()
    with torch.no_grad():
        for parameter in network.parameters():  # biases too, so that a missing one shows
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return network


def random_input(name, network, height=24, width=40):
    torch.manual_seed(2)
    channels = network.base[0].in_channels if name.startswith("arcnn") else network.conv_input.in_channels
    x = torch.rand(2, channels, height, width, dtype=torch.float64) * 2 - 1
    if name != "qmarg":
        return x
    return x, torch.rand(2, network.in_glo_channel, 112, 112, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", FULL)
def test_state_dict_keys_and_shapes_are_the_published_ones(name):
    expected = json.loads(GOLDEN.read_text())[name]
    state = nets.build(name, FULL[name]).state_dict()
    found = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0].startswith("residual"):  # 64 or 2 x 32 alike blocks stand as one line
            parts[1] = "*"
        found.setdefault(".".join(parts), []).append(list(value.shape))
    counted = {key: [len(shapes), shapes[0]] for key, shapes in found.items()}
    assert all(shape == shapes[0] for shapes in found.values() for shape in shapes)
    assert counted == expected


@pytest.mark.parametrize(("name", "millions"), [("qmar", 4.97), ("qmarg", 12.3), ("edsr", 4.97), ("arcnn", 0.117734)])
def test_parameter_counts(name, millions):
    assert nets.parameter_count(nets.build(name, FULL[name])) / 1e6 == pytest.approx(millions, rel=0.002)


def test_the_global_branch_has_its_published_share():
    network = nets.build("qmarg", FULL["qmarg"])
    branch = nets.parameter_count(network.conv_global) + nets.parameter_count(network.conv_global_l)
    assert branch / 1e6 == pytest.approx(7.26, abs=0.01)


def test_names_that_users_type_and_files_hold_are_frozen():
    assert list(nets.NETWORKS) == ["qmar", "qmarg", "edsr", "arcnn", "arcnn-FastARCNN", "qmar_plus"]
    assert nets.kind("arcnn-FastARCNN").network is arcnn.FastARCNN
    assert nets.kind("qmar-Net").network is qmar.Net
    with pytest.raises(UserError, match="'fbcnn' is unknown: choose from qmar, qmarg"):
        nets.kind("fbcnn")


def conv(state, key, x, **keywords):
    return functional.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), **keywords)


def blocks(state, prefix, count, x):
    for i in range(count):
        x = x + 0.1 * conv(
            state, f"{prefix}.{i}.conv2", conv(state, f"{prefix}.{i}.conv1", x, padding=1).relu(), padding=1
        )
    return x


def reference_edsr(state, count, x):
    shallow = conv(state, "conv_input", x, padding=1)
    deep = conv(state, "downscale.0", shallow, stride=2, padding=1).relu()
    deep = conv(state, "conv_mid", blocks(state, "residual", count, deep), padding=1)
    deep = functional.pixel_shuffle(conv(state, "upscale.0", deep, padding=1), 2)
    return conv(state, "conv_output", deep + shallow, padding=1)


def reference_qgcn(state, first, second, x, image):
    for i in range(0, 16, 2):
        stride = 2 if i % 4 == 0 else 1
        image = conv(state, f"conv_global.{i}", image, stride=stride, padding=1).relu()
    vector = image.reshape(image.shape[0], -1)
    vector = (vector @ state["conv_global_l.0.weight"].T + state["conv_global_l.0.bias"]).relu()
    vector = vector @ state["conv_global_l.2.weight"].T + state["conv_global_l.2.bias"]
    x = conv(state, "downscale.0", conv(state, "conv_input", x, padding=1), stride=2, padding=1).relu()
    if first:
        x = x + blocks(state, "residual1", first, x)
    x = torch.cat([x, vector[:, :, None, None].repeat(1, 1, *x.shape[2:])], 1)
    x = conv(state, "conv_res_mid", x, padding=1).relu()
    if second:
        x = x + blocks(state, "residual2", second, x)
    x = functional.pixel_shuffle(conv(state, "upscale.0", conv(state, "conv_mid", x, padding=1), padding=1), 2)
    return conv(state, "conv_output", x, padding=1)


def reference_arcnn(state, x, fast):
    x = conv(state, "base.0", x, stride=2 if fast else 1, padding=4)
    x = functional.prelu(x, state["base.1.weight"])
    for index, padding in ((2, 0), (4, 3), (6, 0)) if fast else ((2, 3), (4, 0)):
        x = functional.prelu(conv(state, f"base.{index}", x, padding=padding), state[f"base.{index + 1}.weight"])
    if not fast:
        return conv(state, "last", x, padding=2)
    return functional.conv_transpose2d(
        x, state["last.weight"], state["last.bias"], stride=2, padding=4, output_padding=1
    )


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("name", FULL)
def test_forward_equals_an_independent_one(name, count, channels):
    if name.startswith("arcnn"):
        network = random_network(name, channels)
        x = random_input(name, network)
        expected = reference_arcnn(network.state_dict(), x, fast=name != "arcnn")
    else:
        network = random_network(name, channels, n_resblocks=count)
        x = random_input(name, network)
        state = network.state_dict()
        expected = (
            reference_qgcn(state, count // 2, count - count // 2, *x)
            if name == "qmarg"
            else reference_edsr(state, count, x)
        )
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_network_that_takes_a_colour_global_image_repeats_a_gray_one():
    network = random_network("qmarg", 1, in_glo_channel=3)
    x, _ = random_input("qmarg", network)
    gray = torch.rand(2, 1, 112, 112, dtype=torch.float64)
    assert torch.equal(network((x, gray)), network((x, gray.repeat(1, 3, 1, 1))))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["qmar", "qmarg", "edsr"])
def test_the_identity_start_returns_the_pixels(name, count, channels):
    network = nets.build(name, network_arguments(name, channels, n_resblocks=count)).double()
    nets.initialise(network, "identity")
    x = random_input(name, network)
    pixels = (x[0] if name == "qmarg" else x)[:, :channels]
    torch.testing.assert_close(network(x), pixels, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_start_of_ar_cnn_returns_the_pixels(channels):
    network = nets.build("arcnn", {"channels": channels}).double()
    nets.initialise(network, "identity")
    x = random_input("arcnn", network)
    torch.testing.assert_close(network(x), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["qmar", "qmarg", "edsr", "arcnn"])
def test_everything_can_learn_from_the_identity_start(name):
    network = nets.build(name, network_arguments(name)).double()
    nets.initialise(network, "identity")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    x = random_input(name, network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        (network(x) - 0.3).square().mean().backward()
        optimizer.step()
    assert [key for key, value in network.state_dict().items() if torch.equal(value, before[key])] == []


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("start", ["colour", "gray", "gray from colour"])
def test_a_held_identity_stays_while_the_rest_learns_what_to_add(start, optimizer):
    network = identity_start(1 if start == "gray" else 3)
    learn(network, optimizer)
    if start == "gray from colour":
        arguments = gray_arguments(network_arguments("qmarg", 3, n_feats=28))
        gray = nets.build("qmarg", arguments).double()
        gray.load_state_dict(gray_weights(network.state_dict()))
        network = gray
        learn(network, optimizer)
    channels, carriers = network.conv_output.out_channels, 1 if start == "gray" else 3
    x = random_input("qmarg", network)
    pixels = x[0][:, :channels]
    with torch.no_grad():
        assert (network(x) - pixels).abs().max() > 1e-3
        network.conv_output.weight[:, carriers:] = 0  # all that was added to the pixels
        torch.testing.assert_close(network(x), pixels, rtol=0, atol=1e-12)


def identity_start(channels):
    network = nets.build("qmarg", network_arguments("qmarg", channels, n_feats=28)).double()
    nets.initialise(network, "identity")
    return network


def learn(network, optimizer):
    """Three steps of a network whose identity is held, in which something of every layer learns."""
    network.hold_identity()
    optimizer = build_optimizer(optimizer, network, 0.01)
    x = random_input("qmarg", network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        (network(x) - 0.3).square().mean().backward()
        optimizer.step()
    state = network.state_dict()
    assert [key for key in state if torch.equal(state[key], before[key])] == []


def test_the_identity_start_says_what_it_needs():
    with pytest.raises(UserError, match="at least 24 features here: --n_feats is 8"):
        nets.initialise(nets.build("qmarg", network_arguments("qmarg", n_feats=8)), "identity")
    with pytest.raises(UserError, match="has no way through this network"):
        nets.initialise(nets.build("arcnn-FastARCNN", {"channels": 3}), "identity")
    with pytest.raises(UserError, match="'zero' is unknown"):
        nets.initialise(nets.build("arcnn", {"channels": 3}), "zero")


def test_published_initialisation():
    torch.manual_seed(0)
    network = nets.build("qmarg", FULL["qmarg"])
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            count = module.weight.numel()
            assert module.weight.std().item() == pytest.approx(expected, rel=6 / math.sqrt(count)), name
            assert abs(module.weight.mean().item()) < 6 * expected / math.sqrt(count)
            assert module.bias is None or not module.bias.any()
    linear = network.conv_global_l[0].weight  # PyTorch's default: uniform within 1 / sqrt(inputs)
    assert linear.abs().max().item() == pytest.approx(1 / math.sqrt(6272), rel=0.01)
    small = nets.build("arcnn", {"channels": 3})
    assert small.base[2].weight.std().item() == pytest.approx(0.001, rel=0.03)
    assert small.base[1].weight.item() == 0.25


@pytest.mark.parametrize(
    ("name", "count"),
    [(name, count) for name in ("edsr", "qmar", "qmarg") for count in (0, 1, 3)]
    + [("arcnn", 0), ("arcnn-FastARCNN", 0)],
)
def test_the_halo_is_the_reach_of_the_gradient(name, count):
    changes = {} if name.startswith("arcnn") else {"n_resblocks": count, "n_feats": 4, "res_scale": 1.0}
    network = nets.build(name, network_arguments(name, 1, **changes)).double()
    with torch.no_grad():
        for parameter in network.parameters():  # all positive: nothing cancels, no ReLU is shut
            parameter.abs_().add_(0.01)
    reach, size = 0, 96
    for centre in (48, 49):  # both pixels of a half-resolution position
        channels = 1 if name in ("edsr", "arcnn", "arcnn-FastARCNN") else 2
        x = torch.rand(1, channels, size, size, dtype=torch.float64, requires_grad=True)
        image = torch.rand(1, 1, 112, 112, dtype=torch.float64)
        network((x, image) if name == "qmarg" else x)[0, 0, centre, centre].backward()
        touched = x.grad.abs().sum((0, 1)).nonzero()
        reach = max(reach, int((touched - centre).abs().max()))
    assert reach == network.halo


def test_arguments_follow_the_colour_mode():
    words = "--net qmarg --n_resblocks 4 --n_feats 8 --global_feats 4 --global_hidden 8"
    options = params.training_parser().parse_args(words.split())
    gray = nets.arguments(options, 1)
    assert (gray["in_channel"], gray["out_channel"], gray["in_glo_channel"]) == (2, 1, 1)
    colour = nets.arguments(options, 3)
    assert (colour["in_channel"], colour["out_channel"], colour["in_glo_channel"]) == (5, 3, 3)
    options.in_channel = 7
    with pytest.raises(UserError, match="--in_channel 7 does not fit the data, which have 5"):
        nets.arguments(options, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FULL)
def test_arguments_can_be_read_off_the_shapes(name, channels):
    arguments = network_arguments(name, channels)
    state = nets.build(name, arguments).state_dict()
    found = infer_arguments(name, state, 0.1)
    assert found == arguments | ({} if name.startswith("arcnn") else {"res_scale": 0.1})


class Smallest(base.Network):
    """All that a new network has to bring: how far it reaches, its parameters, and its way."""

    halo = 1

    def __init__(self, *, in_channel, out_channel, n_feats=8):
        super().__init__()
        self.first = nn.Conv2d(in_channel, n_feats, 3, padding=1)
        self.last = nn.Conv2d(n_feats, out_channel, 1)

    def forward(self, x):
        return x[:, : self.last.out_channels] + self.last(self.first(x).relu())


def test_a_new_network_is_one_class_and_one_line(call, folder_of_photos, monkeypatch):
    monkeypatch.setitem(nets.NETWORKS, "smallest", nets.Kind("Smallest", Smallest, "jpeg_qm"))
    words = ["--net", "smallest", "--n_feats", 4, "--size", 32, "--samples_per_epoch", 8, "--batchSize", 4]
    words += ["--imgGTRoot", folder_of_photos, "--threads", 0, "--store", "store", "--nEpochs", 1, "--savedir", "run"]
    assert call("main", *words).code == 0
    content = checkpoints.load("checkpoint/run/model_last.pth")
    assert content["arguments"] == {"in_channel": 5, "out_channel": 3, "n_feats": 4}
    last = "checkpoint/run/model_last.pth"
    done = call("eval_qm", "--model", last, "--GT", "--gtdata", folder_of_photos, "--quality", 10)
    assert done.code == 0 and "Smallest" in done.out, done.err
    Image.open(folder_of_photos / "0.png").save("photo.jpg", quality=10)
    assert call("restore", "photo.jpg", "-o", "out.png", "--model", last).code == 0


class WithoutHalo(Smallest):
    halo = None


class Failing(Smallest):
    def forward(self, x):
        raise KeyError("nothing")


class HalfSize(Smallest):
    def forward(self, x):
        return super().forward(x)[..., ::2, ::2]


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (WithoutHalo, "--net new has no halo, a whole number of pixels above 0"),
        (Failing, "--net new does not run on its input jpeg_qm: 'nothing'"),
        (HalfSize, r"--net new makes \(1, 3, 8, 8\) of an image of shape \(1, 3, 16, 16\)"),
        (edsr.Net, ""),
    ],
)
def test_what_a_network_must_offer_is_checked_before_it_is_trained(monkeypatch, network, sentence):
    monkeypatch.setitem(nets.NETWORKS, "new", nets.Kind("New", network, "jpeg_qm"))
    built = nets.build("new", {"in_channel": 5, "out_channel": 3, "n_feats": 8})
    if not sentence:
        nets.check("new", built, 3)
        return
    with pytest.raises(UserError, match=sentence):
        nets.check("new", built, 3)


class Demanding(Smallest):
    def __init__(self, *, in_channel, out_channel, n_feats, depth):
        super().__init__(in_channel=in_channel, out_channel=out_channel, n_feats=n_feats)


def test_a_number_without_an_option_wants_a_default(monkeypatch):
    monkeypatch.setitem(nets.NETWORKS, "new", nets.Kind("New", Demanding, "jpeg_qm"))
    options = params.training_parser().parse_args(["--net", "new"])
    with pytest.raises(UserError, match="--net new needs 'depth', for which there is no option: give it a default"):
        nets.arguments(options, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FULL)
def test_every_network_offers_what_it_must(name, channels):
    nets.check(name, nets.build(name, network_arguments(name, channels)), channels)
