"""Checkpoints of the published program, made here in both formats, and files that want to do harm."""

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch
from conftest import network_arguments
from published_format import STREAM_START, Storage, data_parallel, published_names, write

from qgcn import checkpoints, nets
from qgcn.utils.errors import UserError

OPTIONS = {"net": "qmar", "n_resblocks": 2, "colorMode": "RGB", "quality": "[1,60]", "cuda": True, "resume": None}


def published(path, name, *, stream=True, parallel=False, location="cpu", channels=3, **changes):
    torch.manual_seed(3)
    network = nets.build(name, network_arguments(name, channels, **changes))
    module = data_parallel(network) if parallel else network
    write(path, {"epoch": 17, "model": module, "opt": OPTIONS}, stream=stream, location=location)
    return network


@pytest.mark.parametrize("location", ["cpu", "cuda:0"])
@pytest.mark.parametrize("parallel", [False, True], ids=["single", "DataParallel"])
@pytest.mark.parametrize("stream", [True, False], ids=["torch-0.4.1", "zip"])
@pytest.mark.parametrize("name", ["qmar", "qmarg", "edsr", "arcnn", "arcnn-FastARCNN"])
def test_published_checkpoints_load(tmp_path, name, stream, parallel, location):
    path = tmp_path / "QCN_RGB_[10,50].pth"
    network = published(path, name, stream=stream, parallel=parallel, location=location)
    content = checkpoints.load(path)
    assert (content["net"], content["epoch"], content["opt"]["quality"]) == (name, 17, "[1,60]")
    rebuilt = checkpoints.build_network(content)
    for key, value in network.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[key], value), key
    assert rebuilt.state_dict().keys() == network.state_dict().keys()


def test_a_file_written_by_todays_torch_loads(tmp_path):
    network = nets.build("qmarg", network_arguments("qmarg", 1))
    for zipped in (True, False):
        path = tmp_path / "whole_module.pth"
        with published_names():
            torch.save({"epoch": 1, "model": network, "opt": OPTIONS}, path, _use_new_zipfile_serialization=zipped)
        rebuilt = checkpoints.build_network(checkpoints.load(path))
        assert torch.equal(rebuilt.conv_global_l[0].weight, network.conv_global_l[0].weight)


def test_res_scale_comes_from_the_blocks(tmp_path):
    path = tmp_path / "old.pth"
    published(path, "qmar", res_scale=0.25)
    assert checkpoints.load(path)["arguments"]["res_scale"] == 0.25


def test_a_lost_block_stays_lost(tmp_path):
    # The published QGCN with an odd n_resblocks has one block fewer than its options say.
    path = tmp_path / "old.pth"
    torch.manual_seed(0)
    network = nets.build("qmarg", network_arguments("qmarg", n_resblocks=4))
    write(path, {"epoch": 1, "model": network, "opt": OPTIONS | {"n_resblocks": 5}}, stream=True)
    assert checkpoints.load(path)["arguments"]["n_resblocks"] == 4


class Harm:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("stream", [True, False], ids=["torch-0.4.1", "zip"])
@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "posix.system"), (eval, "eval"), (torch.load, "torch.serialization.load"), (io.open, "open")],
)
@pytest.mark.parametrize("place", ["model", "opt", "epoch", "extra"])
def test_a_hostile_pickle_never_runs_and_is_refused_by_name(tmp_path, place, function, named, stream):
    witness = tmp_path / "witness"
    text = {"eval": f"open({str(witness)!r}, 'w')"}.get(function.__name__, f"touch {witness}")
    harm = Harm(function, *((str(witness), "w") if named == "open" else (text,)))
    content = {"epoch": 1, "model": nets.build("arcnn", {"channels": 1}), "opt": {}, place: harm}
    path = write(tmp_path / "hostile.pth", content, stream=stream)
    with pytest.raises(UserError, match=f"it names [a-z_]*\\.?{named}"):
        checkpoints.load(path)
    assert not witness.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "pickle.pth"
    path.write_bytes(pickle.dumps(Harm(os.system, f"touch {tmp_path / 'witness'}")))
    with pytest.raises(UserError, match=r"posix\.system"):
        checkpoints.load(path)
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"cos\nsystem\n(S'touch witness'\ntR.",
        b"(S'touch witness'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch witness'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\rtouch witness\x85R.",
        b"\x80\x02cos\nsystem\nX\r\x00\x00\x00touch witness\x85\x81.",
        b"Pos.system\n.",
        b"\x82\x01.",
        # An admitted function is not an open door: its attributes are not callable, its state starts nothing.
        b"\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_parameter.__globals__\x93.",
        b"\x80\x04\x8c\x0ctorch._utils\x8c\x12_rebuild_parameter\x93\x8c\x0btorch._utils\x86R.",
    ],
    ids=["REDUCE", "INST", "OBJ", "STACK_GLOBAL", "NEWOBJ", "PERSID", "EXT1", "dotted", "no_network"],
)
def test_no_opcode_gets_around_the_list(tmp_path, raw):
    path = tmp_path / "hostile.pth"
    for start in (b"", STREAM_START):
        path.write_bytes(start + raw)
        with pytest.raises(UserError, match=r"hostile\.pth' can't be read"):
            checkpoints.load(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", raw)
        with pytest.raises(UserError, match=r"hostile\.pth' can't be read"):
            checkpoints.load(path)
    assert not (tmp_path / "witness").exists()


def test_a_damaged_index_does_not_take_all_memory(tmp_path):
    # LONG_BINPUT: remember at an index; the C unpickler allocates 16 bytes for each one below it.
    path = tmp_path / "old.pth"
    path.write_bytes(STREAM_START + b"\x80\x02}r" + struct.pack("<I", 1 << 24) + b".")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="can't be read"):
            checkpoints.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["numpy._core.multiarray._reconstruct", "nets.qmar.os", "builtins.getattr", "torch.nn.modules.loss.L1Loss"]
)
def test_names_off_the_list_are_refused(tmp_path, name):
    module, attribute = name.rsplit(".", 1)
    path = tmp_path / "hostile.pth"
    path.write_bytes(STREAM_START + b"c" + module.encode() + b"\n" + attribute.encode() + b"\n.")
    with pytest.raises(UserError, match=f"it names {name}"):
        checkpoints.load(path)


@pytest.mark.parametrize("stream", [True, False], ids=["torch-0.4.1", "zip"])
@pytest.mark.parametrize(
    ("offset", "size", "stride", "told"),
    [(0, (1 << 40,), (0,), "larger than its storage"), (3, (4,), (1,), "damaged"), (0, (2, 2), (8, 1), "damaged")],
)
def test_a_tensor_can_not_claim_more_than_its_storage(tmp_path, offset, size, stride, told, stream):
    tensor = Harm(torch._utils._rebuild_tensor_v2, Storage(torch.zeros(4)), offset, size, stride, False, OrderedDict())
    content = {"epoch": 1, "model": nets.build("arcnn", {"channels": 1}), "opt": {}, "extra": tensor}
    path = write(tmp_path / "hostile.pth", content, stream=stream)
    with pytest.raises(UserError, match=told):
        checkpoints.load(path)


def test_a_storage_can_not_claim_more_than_the_file(tmp_path):
    path = tmp_path / "hostile.pth"
    published(path, "arcnn", channels=1)
    whole, count = path.read_bytes(), 64 * 81
    path.write_bytes(whole.replace(b"M" + struct.pack("<H", count), b"\x8a\x07" + (1 << 50).to_bytes(7, "little"), 1))
    with pytest.raises(UserError, match="larger than the file"):
        checkpoints.load(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused_and_does_not_run(tmp_path, capfd):
    """torch.load would hand it to torch.jit.load, whatever the unpickler."""

    class Script(torch.nn.Module):
        def forward(self, x):
            return x

        @torch.jit.export
        def __getstate__(self):
            return 1

        @torch.jit.export
        def __setstate__(self, state: int):
            print("it ran")
            self.training = False

    path = tmp_path / "hostile.pth"
    torch.jit.script(Script()).save(path)
    with pytest.raises(UserError, match="can't be read"):
        checkpoints.load(path)
    assert "it ran" not in capfd.readouterr().out
    torch.jit.load(path)
    assert "it ran" in capfd.readouterr().out


def test_source_text_in_a_file_writes_no_patch(tmp_path):
    """torch.load's stream format would write one beside a class that says dump_patches, at the class's name."""

    def text(words):
        return b"X" + struct.pack("<I", len(words)) + words

    function = b"ctorch._utils\n_rebuild_tensor\nN}(" + text(b"dump_patches") + b"\x88"
    function += text(b"__name__") + text(str(tmp_path / "anywhere").encode()) + b"u\x86b"
    path = tmp_path / "hostile.pth"
    path.write_bytes(STREAM_START + b"(" + text(b"module") + function + text(b"a.py") + text(b"any text") + b"tQ.")
    with pytest.raises(UserError, match="can't be read"):
        checkpoints.load(path)
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.pth"]


@pytest.mark.parametrize("stream", [True, False], ids=["torch-0.4.1", "zip"])
def test_damaged_files_end_with_a_sentence(tmp_path, stream):
    path = tmp_path / "old.pth"
    published(path, "qmar", stream=stream, channels=1, n_feats=4)
    whole = path.read_bytes()
    for length in [0, 1, 2, 16, 100, *range(200, len(whole) - 1, len(whole) // 25), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="can't be read") as told:
            checkpoints.load(path)
        assert "\n" not in str(told.value) and len(str(told.value)) < 500
    chance = random.Random(0)
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            checkpoints.load(path)  # a flipped weight is still a weight
        except UserError as error:
            assert "\n" not in str(error)


def test_a_storage_of_the_wrong_size_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    published(path, "arcnn", channels=1)
    whole = path.read_bytes()
    weight = struct.pack("<q", 1 * 64 * 81)
    path.write_bytes(whole.replace(weight, struct.pack("<q", 64 * 81 - 1), 1))
    with pytest.raises(UserError, match="wrong size"):
        checkpoints.load(path)


def test_published_checkpoints_evaluate_as_they_are(tmp_path, call, folder_of_photos):
    published(tmp_path / "QCN_RGB_[10,50].pth", "qmar")
    done = call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", tmp_path / "QCN_RGB_[10,50].pth")
    assert done.code == 0 and "QCN" in done.out
