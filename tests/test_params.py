"""The command line that users of the published program type."""

import shlex

import pytest
from conftest import refused, shell

import params

COMMANDS = """
src/main.py --dataloader jpeg_qm  --size 64 --batchSize 256 --quality [1,60]  --colorMode RGB --net qmar  --n_resblock 64 --loss L1 --cuda --threads 4 --gpus [0] --savedir the_dir_to_save_checkpoints
src/main.py --dataloader jpeg_qmg --size 64 --batchSize 256 --quality [1,100] --colorMode L   --net qmarg --n_resblock 64 --loss L1 --cuda --threads 4 --gpus [0] --savedir the_dir_to_save_checkpoints
src/eval_qm.py  --model checkpoint/path_to_QCN_model.pth  --GT --gtdata LIVE1   --quality 10 --cuda
src/eval_qmg.py --model checkpoint/path_to_QGCN_model.pth --GT --gtdata BSDS500 --quality 10 --cuda
""".strip().splitlines()  # noqa: E501

PUBLISHED_TRAINING = {
    "nEpochs": 50, "lr": 1e-4, "step": 20, "loss": "L1", "cuda": False, "threads": 1, "gpus": [0], "net": "qmar",
    "n_colors": 3, "in_channel": 0, "out_channel": 0, "in_glo_channel": 3, "n_resblocks": 64, "n_feats": 64,
    "res_scale": 0.1, "batchSize": 16, "size": 64, "quality": (1, 60), "colorMode": "RGB", "resume": "",
    "pretrained": "", "seed": 0, "validation": False,
}  # fmt: skip
PUBLISHED_WITH_OTHER_DEFAULTS = {"imgGTRoot", "imgValidRoot", "dataloader", "savedir"}
"""Private paths, a loader that the network decides here, and a name."""

PUBLISHED_EVALUATION = {"cuda", "model", "realdatapath", "gpus", "GT", "gtdata", "quality", "save", "colorMode"}


def training(*words):
    return params.training_parser().parse_args(list(words))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_published_commands_parse(command):
    program, *words = shlex.split(command)
    if program.endswith("main.py"):
        options = training(*words)
        assert (options.n_resblocks, options.batchSize, options.threads, options.gpus) == (64, 256, 4, [0])
        assert options.quality == ((1, 60) if options.net == "qmar" else (1, 100))
    else:
        options = params.evaluation_parser("eval", "").parse_args(words)
        assert options.GT and options.cuda and options.quality == [10]


def test_published_defaults():
    options = vars(training())
    assert {name: options[name] for name in PUBLISHED_TRAINING} == PUBLISHED_TRAINING
    assert options.keys() >= PUBLISHED_WITH_OTHER_DEFAULTS
    evaluation = vars(params.evaluation_parser("eval", "").parse_args([]))
    assert evaluation["realdatapath"] == "testdata" and evaluation["quality"] == [10]
    assert not evaluation["GT"] and not evaluation["cuda"]


def abbreviations(names):
    """Every prefix of every name that no other of the names shares."""
    for name in names:
        for length in range(1, len(name) + 1):
            prefix = name[:length]
            if prefix in names and prefix != name:
                continue
            if prefix == name or sum(other.startswith(prefix) for other in names) == 1:
                yield prefix, name


@pytest.mark.parametrize(
    ("parser", "names"),
    [
        (params.training_parser(), PUBLISHED_TRAINING.keys() | PUBLISHED_WITH_OTHER_DEFAULTS),
        (params.evaluation_parser("eval", ""), PUBLISHED_EVALUATION),
    ],
    ids=["training", "evaluation"],
)
def test_every_published_abbreviation_still_works(parser, names):
    values = {"lr": "0.5", "res_scale": "0.5", "loss": "L2", "net": "edsr", "colorMode": "L", "dataloader": "jpeg"}
    words = {"imgGTRoot", "imgValidRoot", "resume", "pretrained", "savedir", "model", "realdatapath", "gtdata", "save"}
    flags = {"cuda", "validation", "GT"}
    tried = 0
    for prefix, name in abbreviations(names):
        value = values.get(name, "text" if name in words else "7")
        parsed = vars(parser.parse_args([f"--{prefix}"] + ([] if name in flags else [value])))
        assert parsed[name] != parser.get_default(name), (prefix, name)
        tried += 1
    assert tried > 20


@pytest.mark.parametrize(
    ("text", "expected"), [("[1,60]", (1, 60)), ("1,60", (1, 60)), ("10", (10, 10)), ("[ 5 , 95 ]", (5, 95))]
)
def test_quality_ranges(text, expected):
    assert training("--quality", text).quality == expected


@pytest.mark.parametrize("text", ["0", "101", "[60,1]", "[1,2,3]", "", "[]", "1.5", "[1,60", "__import__('os')", "-3"])
def test_illegal_quality_ranges_end_with_a_sentence_and_code_2(text, capsys):
    with pytest.raises(SystemExit) as error:
        training(f"--quality={text}")
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "--quality" in message


@pytest.mark.parametrize(("text", "expected"), [("[0]", [0]), ("0,1", [0, 1]), ("[3,1]", [3, 1])])
def test_gpu_lists(text, expected):
    assert training("--gpus", text).gpus == expected


@pytest.mark.parametrize(
    "line",
    ["--gpus [0,0]", "--gpus=-1", "--gpus os", "--lr 0", "--lr nan", "--batchSize 0", "--nEpochs x", "--ema 1"],
)
def test_illegal_values_end_with_code_2(line, capsys):
    with pytest.raises(SystemExit) as error:
        training(*line.split())
    assert error.value.code == 2 and line[:4] in capsys.readouterr().err


def test_lists_of_qualities_for_evaluation_lose_repetitions():
    parser = params.evaluation_parser("eval", "")
    assert parser.parse_args(["--quality", "10,20,10"]).quality == [10, 20]
    assert parser.parse_args(["--quality", "[10,50]"]).quality == [10, 50]


def test_given_options_are_told_from_defaults():
    parser = params.training_parser()
    assert params.given_options(parser, ["--n_resblock", "64", "--cuda"]) == {"n_resblocks", "cuda"}
    assert params.given_options(parser, []) == set()


def test_every_option_is_documented():
    others = (params.restore_parser(), params.export_parser())
    for parser in (params.training_parser(), params.evaluation_parser("eval", ""), *others):
        assert all(action.help for action in parser._actions)


def test_help_needs_no_torch():
    for script in ("main.py", "eval.py", "eval_qm.py", "eval_qmg.py", "restore.py", "convert.py", "export.py"):
        done = shell(script, "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert done.returncode == 0 and "usage:" in done.stdout
        assert not any(f" {name}\n" in done.stderr for name in ("torch", "skimage", "matplotlib")), script


def test_cuda_without_a_gpu_is_one_sentence(call, folder_of_photos):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(call("main", "--cuda", "--imgGTRoot", folder_of_photos), "--cuda")
    refused(call("eval_qm", "--cuda", "--GT", "--gtdata", "sample"), "--cuda")
