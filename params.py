"""Every option of every program: argparse only, nothing of this project is imported here.

Each ``*_parser`` function returns the parser of one program. The options of the published program keep
their names, defaults and abbreviations; new options follow in groups of their own and never make a
published abbreviation ambiguous.
"""

import argparse
import os
import re
import sys

QUALITY_MIN, QUALITY_MAX = 1, 100
LARGEST = 1e18
"""Of numbers without a limit of their own: none that is meant is larger."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with one-sentence errors whose published options win over new ones when abbreviated."""

    def __init__(self, **keywords):
        super().__init__(formatter_class=_Help, **keywords)
        self.published: set[str] = set()

    def add_published(self, group: argparse._ArgumentGroup, *flags: str, **keywords) -> None:
        """Add an option of the published program to ``group``."""
        group.add_argument(*flags, **keywords)
        self.published.update(flags)

    def _get_option_tuples(self, option_string):
        matches = super()._get_option_tuples(option_string)
        published = [match for match in matches if match[1] in self.published]
        return published if len(published) == 1 else matches

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does, but an empty argument, which a shell makes of a variable that is not set, is an error."""
        words = sys.argv[1:] if args is None else list(args)
        for before, word in zip([self.prog, *words], words, strict=False):
            if not word:
                self.error(f"the argument after {before} is empty: is a variable not set?")
            if word.startswith("--") and word.endswith("="):
                self.error(f"nothing is given after {word}: is a variable not set?")
        return super().parse_known_args(args, namespace)

    def error(self, message):
        """End the program with one sentence and exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one worth reading."""

    def _get_help_string(self, action):
        if action.default in (None, False, "", argparse.SUPPRESS) or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


# ---------------------------------------------------------------------------------------------- types


def _integers(text: str) -> list[int]:
    """'[1,60]', '1,60' or '10' as a list of integers; anything else raises argparse.ArgumentTypeError."""
    inner = re.fullmatch(r"\[(.*)\]|([^\[\]]*)", text.strip())
    words = (inner.group(1) or inner.group(2) or "").split(",") if inner else [""]
    if not all(re.fullmatch(r"\s*-?\d{1,9}\s*", word) for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as [1,60], 1,60 or 10")
    return [int(word) for word in words]


def _qualities(text: str) -> list[int]:
    values = _integers(text)
    for value in values:
        if not QUALITY_MIN <= value <= QUALITY_MAX:
            raise argparse.ArgumentTypeError(
                f"{value} is not a JPEG quality factor: give {QUALITY_MIN} to {QUALITY_MAX}"
            )
    return values


def quality_range(text: str) -> tuple[int, int]:
    """The inclusive range of training qualities: '[1,60]' or '1,60' is (1, 60), '10' is (10, 10)."""
    values = _qualities(text)
    low, high = values[0], values[-1]
    if len(values) > 2 or low > high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a quality range: give [LOW,HIGH] with LOW <= HIGH")
    return low, high


def quality_list(text: str) -> list[int]:
    """The qualities to evaluate: '10' is [10], '10,20,30' or '[10,20,30]' is [10, 20, 30]."""
    return list(dict.fromkeys(_qualities(text)))


def memory_size(text: str) -> float:
    """Bytes: '500M', '1.5G' or a plain number."""
    units = {"K": 1e3, "M": 1e6, "G": 1e9}
    unit = units.get(text[-1:].upper())
    try:
        value = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory such as 500M or 2G")
    return value


def crop_box(text: str) -> tuple[int, ...]:
    """A crop, '120,96,64,64', as left, top, width and height in pixels."""
    values = _integers(text)
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEFT,TOP,WIDTH,HEIGHT")
    return tuple(values)


def gpu_list(text: str) -> list[int]:
    """The devices to use: '[0]' is [0], '0,1' or '[0,1]' is [0, 1]."""
    values = _integers(text)
    if min(values) < 0 or len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different device numbers such as [0,1]")
    return values


def number(kind, low, high=None, *, above=False):
    """An argparse type: a ``kind`` that is >= low (> low where ``above``) and <= high, by default LARGEST."""
    top = LARGEST if high is None else high

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (value > low if above else value >= low) or value > top:
            limits = f"{'above' if above else 'at least'} {low}"
            if high is not None or (value is not None and value > top):  # one that nobody meets is told when it is met
                limits += f" and at most {top:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' * (kind is int)}number {limits}")
        return value

    return parse


# -------------------------------------------------------------------------------------------- programs


def training_parser() -> Parser:
    """Options of src/main.py."""
    parser = Parser(
        prog="main.py",
        description="Train QCN, QGCN, EDSR or AR-CNN to remove JPEG artifacts.",
        epilog="Several machines or GPUs: torchrun --nproc_per_node=N src/main.py ... (or --gpus [0,1,...] on one).",
    )
    count, size = number(int, 0), number(int, 1)

    group = parser.add_argument_group("training (published program)")
    add = lambda *flags, **keywords: parser.add_published(group, *flags, **keywords)  # noqa: E731
    add("--nEpochs", type=size, default=50, help="number of epochs")
    add("--lr", type=number(float, 0, above=True), default=1e-4, help="learning rate")
    add("--step", type=size, default=20, help="epochs after which the learning rate is divided by 10")
    add("--loss", default="L1", help="L1 or L2")
    add("--cuda", action="store_true", help="train on NVIDIA GPUs; without it on the CPU")
    add("--threads", type=count, default=1, help="data loading worker processes; 0 loads in the main process")
    add("--gpus", type=gpu_list, default="[0]", help="GPUs; more than one starts a process for each")
    add("--seed", type=count, default=0, help="seed of everything random; 0 is a seed like any other")
    add("--resume", default="", metavar="PATH", help="checkpoint, or run folder, to continue exactly")
    add(
        "--pretrained", default="", metavar="PATH", help="checkpoint whose weights to start from; gray from colour, too"
    )
    add("--savedir", default="run", help="run folder under checkpoint/")
    add("--validation", action="store_true", help="evaluate on --imgValidRoot after every epoch")

    group = parser.add_argument_group("network (published program)")
    add("--net", default="qmar", help="qmar (QCN), qmarg (QGCN), edsr, arcnn, arcnn-FastARCNN or qmar_plus (QCN+)")
    add("--n_colors", type=size, default=3, help="colour channels; 1 with --colorMode L whatever is given")
    add("--in_channel", type=count, default=0, help="input channels of QCN and QGCN; 0: pixels + quantization maps")
    add("--out_channel", type=count, default=0, help="output channels of QCN and QGCN; 0: as many as the image has")
    add("--in_glo_channel", type=size, default=3, help="channels of QGCN's global image; 1 with --colorMode L")
    add("--n_resblocks", type=count, default=64, help="residual blocks")
    add("--n_feats", type=size, default=64, help="features of every layer of the restoration branch")
    add("--res_scale", type=number(float, 0), default=0.1, help="factor of a residual block's output")

    group = parser.add_argument_group("data (published program)")
    add("--imgGTRoot", default="data/DIV2K/DIV2K_train_HR", metavar="FOLDER", help="training images, nested or flat")
    add("--imgValidRoot", default="data/DIV2K/DIV2K_valid_HR", metavar="FOLDER", help="validation images")
    add("--dataloader", default="", help="jpeg, jpeg_qm, jpeg_qmg or jpeg_qm_plus (default: that of --net)")
    add("--batchSize", type=size, default=16, help="samples a step, over all processes together")
    add("--size", type=size, default=64, help="side of the square crops, pixels")
    add("--quality", type=quality_range, default="[1,60]", help="JPEG quality factors to train on, inclusive")
    add("--colorMode", default="RGB", help="RGB, or L for MATLAB's Y")

    group = parser.add_argument_group("degradation")
    group.add_argument(
        "--degradation",
        default="published",
        help="published (standard tables at 4:2:0), or real: tables, sampling and range as files have them",
    )

    group = parser.add_argument_group("schedule")
    group.add_argument(
        "--optimizer", default="adam", help="adam (published), or muon for residual blocks with adam for the rest"
    )
    group.add_argument("--schedule", default="step", help="step (StepLR, published) or cosine")
    group.add_argument("--warmup", type=count, default=0, help="steps of linear warm-up")
    group.add_argument(
        "--minutes",
        type=number(float, 0, above=True),
        help="train for this long instead of --nEpochs; the schedule is fitted to it",
    )
    group.add_argument("--samples_per_epoch", type=size, help="crops an epoch (default: all disjoint crops)")
    group.add_argument("--ema", type=number(float, 0, 0.999999), default=0.0, help="decay of averaged weights; 0: off")
    group.add_argument(
        "--init", default="published", help="published, or identity: start as the identity on the pixels"
    )
    group.add_argument("--global_feats", type=size, default=32, help="features of QGCN's first global layer")
    group.add_argument("--global_hidden", type=size, default=1024, help="width of QGCN's global fully connected layer")

    _add_codec(parser.add_argument_group("codec"))

    group = parser.add_argument_group("machine")
    group.add_argument("--precision", default="fp32", help="fp32 or bf16 (autocast)")
    group.add_argument(
        "--accumulate",
        type=size,
        default=1,
        help="parts in which a batch is computed, one after another, to save memory",
    )
    group.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=False, help="compile the network with torch.compile"
    )
    group.add_argument("--no_channels_last", action="store_true", help="keep tensors in NCHW order")
    group.add_argument("--store", default="data/store", metavar="FOLDER", help="where decoded images are kept")

    group = parser.add_argument_group("validation and log")
    group.add_argument(
        "--valid_quality", type=number(int, 1, 100), default=10, help="JPEG quality factor of validation"
    )
    group.add_argument(
        "--holdout",
        type=number(int, 2),
        help="keep every N-th file of each training folder out and validate on those instead of --imgValidRoot",
    )
    group.add_argument(
        "--valid_degradation",
        default="published",
        help="real validates on each family of --degradation real besides, at the qualities of --quality",
    )
    group.add_argument("--log_every", type=size, default=100, help="steps between rows of metrics.csv")
    group.add_argument(
        "--save_minutes",
        type=number(float, 0),
        default=10.0,
        help="minutes between saves of model_last.pth in an epoch",
    )
    return parser


def _add_model(parser: Parser, help_text: str, **keywords) -> None:
    group = parser.add_argument_group("model")
    parser.add_published(group, "--model", **{"default": "", "metavar": "PATH", "help": help_text} | keywords)
    parser.add_published(group, "--cuda", action="store_true", help="run on an NVIDIA GPU; without it on the CPU")
    parser.add_published(group, "--gpus", type=gpu_list, default="[0]", help="the GPU to use with --cuda")


def _add_backend(parser: Parser) -> None:
    group = parser.add_argument_group("speed")
    group.add_argument(
        "--backend",
        default="",
        help="torch or openvino (default: torch, or what an exported model was made for)",
    )
    group.add_argument("--precision", default="fp32", help="fp32 or bf16")
    group.add_argument(
        "--memory",
        type=memory_size,
        help="memory for the network's features, such as 500M or 2G: large images go in tiles (default: 250M)",
    )
    group.add_argument(
        "--int8", action="store_true", help="8 bits with openvino, not for QGCN; a checkpoint is calibrated each time"
    )


def _add_codec(group: argparse._ActionsContainer, default: str = "pillow") -> None:
    group.add_argument("--codec", default=default, help="pillow (its libjpeg) or ijg9 (IJG libjpeg 9, the paper's)")


def _add_workers(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--workers",
        type=number(int, 0),
        default=min(8, max(1, (os.cpu_count() or 1) // 2)),
        help="threads that compress and measure beside the network (default: by CPUs; 0: none)",
    )


def evaluation_parser(prog: str, networks: str) -> Parser:
    """Options of src/eval.py, src/eval_qm.py and src/eval_qmg.py, which differ in the ``networks`` they take."""
    parser = Parser(
        prog=prog,
        description=f"Evaluate {networks}: PSNR, SSIM and PSNR-B per quality factor, or restore a folder of JPEGs.",
    )
    _add_model(
        parser,
        f"checkpoint of {networks}, or a file of export.py; none: the JPEG columns alone "
        "(default: the one shipped in checkpoint/, where there is one)",
    )
    group = parser.add_argument_group("evaluation (published program)")
    add = lambda *flags, **keywords: parser.add_published(group, *flags, **keywords)  # noqa: E731
    add("--GT", action="store_true", help="evaluate against the ground truth of --gtdata")
    add("--gtdata", default="LIVE1", help="DIV2K, LIVE1, BSDS500, Classic5, sample, or a folder of images")
    add("--quality", type=quality_list, default="10", help="JPEG quality factors, such as 10 or 10,20,30")
    add("--colorMode", default="RGB", help="RGB, or L for MATLAB's Y; a checkpoint's own mode wins")
    add("--realdatapath", default="testdata", metavar="FOLDER", help="without --GT: the folder of JPEGs to restore")
    add("--save", default="", metavar="NAME", help="write pictures, tables and a comparison under results/NAME")
    group = parser.add_argument_group("data and output")
    group.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    _add_codec(group)
    group.add_argument(
        "--protocol",
        default="published",
        help="published (its program: 8x8 SSIM), paper (its tables: 8x8 too; paper.py takes 7x7 for LIVE1 in colour) "
        "or field (FBCNN, SwinIR: 11x11 Gaussian)",
    )
    group.add_argument("--json", default="", metavar="FILE", help="write the figures as JSON")
    _add_workers(group)
    _add_backend(parser)
    return parser


def restore_parser(prog: str = "restore.py") -> Parser:
    """Options of src/restore.py and of the installed command qgcn-restore."""
    parser = Parser(
        prog=prog, description="Restore JPEG files, folders of them, or standard input, with their own tables."
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders (to the bottom), or - for standard input"
    )
    _add_model(
        parser,
        "checkpoint of QCN, QGCN, EDSR or AR-CNN, or a file of export.py; give one for colour and one for gray, and "
        "each file goes to its own (default: those shipped in checkpoint/)",
        action="append",
        default=None,
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        default="",
        metavar="PATH",
        help="file for one JPEG, folder for several, - for standard output (default: results/restored)",
    )
    group.add_argument(
        "--format",
        default="",
        help="of files in a folder and of standard output: png, webp, tiff or jpg (default: png)",
    )
    group.add_argument("--depth", type=int, choices=(8, 16), default=8, help="bits a sample; 16 takes PNG")
    group.add_argument("--out_quality", type=number(int, 1, 100), help="quality factor of JPEG outputs (default: 95)")
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist; an input never is")
    group.add_argument("--resume", action="store_true", help="skip inputs whose output exists")
    group = parser.add_argument_group("restoring")
    group.add_argument("--strength", type=number(float, 0, 1), default=1.0, help="1 restores fully, 0 leaves the input")
    group.add_argument(
        "--self_ensemble", action="store_true", help="average over the 8 flips and rotations: takes 8 times as long"
    )
    group.add_argument(
        "--project",
        action="store_true",
        help="keep every DCT coefficient within what the file's quantized value allows (takes jpeglib)",
    )
    group = parser.add_argument_group("unusual inputs")
    group.add_argument(
        "--quality",
        type=number(int, QUALITY_MIN, QUALITY_MAX),
        help="JPEG quality factor of pictures that were JPEGs once and carry no tables (PNG, WebP, TIFF)",
    )
    group.add_argument(
        "--estimate",
        action="store_true",
        help="estimate that quality factor, and the place of a crop on the grid of blocks, from the pixels; a picture "
        "for which this is not certain fails, a JPEG's own tables always win",
    )
    group.add_argument("--tolerant", action="store_true", help="restore what a viewer shows of a JPEG that breaks off")
    group.add_argument(
        "--max_megapixels", type=number(float, 0, above=True), default=200.0, help="refuse larger pictures"
    )
    group = parser.add_argument_group("machine")
    group.add_argument("--jobs", type=number(int, 1), default=1, help="files at a time, with as many threads in all")
    _add_backend(parser)
    return parser


def convert_parser() -> Parser:
    """Options of src/convert.py."""
    parser = Parser(
        prog="convert.py",
        description="Convert a checkpoint of the published program, or of a training run, to one that is fit to share.",
    )
    parser.add_argument("old", help="checkpoint to read; nothing in it is executed")
    parser.add_argument("new", help="checkpoint to write: state dict and options, without optimizer and local paths")
    parser.add_argument("--half", action="store_true", help="store weights in float16, half the size")
    parser.add_argument("--overwrite", action="store_true", help="replace NEW if it exists")
    return parser


def export_parser() -> Parser:
    """Options of src/export.py."""
    parser = Parser(prog="export.py", description="Write a checkpoint's network for other programs (docs/export.md).")
    parser.add_argument("model", metavar="MODEL", help="checkpoint of QCN, QGCN, EDSR or AR-CNN")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="onnx (.onnx), or openvino (.xml and .bin)")
    parser.add_argument(
        "-o", "--output", default="", metavar="FILE", help="file to write (default: MODEL with another suffix)"
    )
    parser.add_argument(
        "--int8", action="store_true", help="8 bits with --to openvino, twice as fast; calibrated on photographs"
    )
    parser.add_argument(
        "--calibration",
        default="",
        metavar="FOLDER",
        help="images to calibrate --int8 on (default: the photographs that scikit-image brings along)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    return parser


def _add_models(parser: Parser) -> None:
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH", help="checkpoint; repeat for more")


def _add_measurement(parser: Parser, codec: str) -> None:
    _add_models(parser)
    _add_codec(parser, codec)
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    _add_workers(parser)
    parser.add_argument(
        "--per_image",
        default="",
        metavar="FILE",
        help="CSV with a row for each image; what it already has of the same checkpoint is not measured again",
    )


def _add_output(parser: Parser, default: str, content: str = "PNG to write") -> None:
    parser.add_argument("-o", "--output", default=default, metavar="FILE", help=f"{content} (default: {default})")


def paper_parser() -> Parser:
    """Options of src/paper.py."""
    parser = Parser(prog="paper.py", description="The tables and figures of the paper, each as one command.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for table, kind in ((1, "colour"), (2, "gray")):
        command = commands.add_parser(f"table{table}", help=f"Table {table} ({kind}) beside this project's figures")
        _add_measurement(command, codec="ijg9")
        command.add_argument(
            "--protocol",
            default="paper",
            help="paper, published or field (see eval.py); paper takes 7x7 SSIM for LIVE1 in colour",
        )
        command.add_argument("--columns", default="all", help="all, or JPEG: that column alone")
        command.add_argument("--format", default="markdown", choices=("markdown", "csv", "latex"), help="of the table")
        command.add_argument("--json", default="", metavar="FILE", help="write the cells, unrounded, as JSON")
    command = commands.add_parser("generalize", help="gain in PSNR against the quality factor for several checkpoints")
    _add_measurement(command, codec="pillow")
    command.add_argument("--gtdata", default="LIVE1", help="data set or folder, as for eval.py")
    command.add_argument(
        "--quality", type=quality_list, default=",".join(map(str, range(5, 100, 5))), help="quality factors"
    )
    _add_output(command, "results/generalize.png", "PNG to write, and a CSV of its name beside it")
    command = commands.add_parser("compare", help="one image as each method shows it, with a zoomed crop")
    command.add_argument("image", metavar="IMAGE", help="the ground truth")
    _add_models(command)
    _add_codec(command)
    command.add_argument(
        "--quality", type=number(int, QUALITY_MIN, QUALITY_MAX), default=10, help="JPEG quality factor"
    )
    command.add_argument("--crop", type=crop_box, metavar="LEFT,TOP,WIDTH,HEIGHT", help="default: of the largest gain")
    _add_output(command, "results/compare.png")
    command = commands.add_parser("figures", help="a JPEG's quantization tables and the maps that they become")
    _add_output(command, "results/qmap.png")
    return parser


def _benchmark_parser(prog: str, description: str, qualities: str) -> Parser:
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--gtdata", default="LIVE1", help="data set or folder, as for eval.py")
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    parser.add_argument("--quality", type=quality_list, default=qualities, help="quality factors")
    return parser


def projection_benchmark_parser() -> Parser:
    """Options of benchmarks/project.py."""
    parser = _benchmark_parser("project.py", "What restore.py --project changes, in colour.", "10,50")
    _add_model(parser, "checkpoint for colour (default: the one shipped in checkpoint/)")
    return parser


def global_branch_benchmark_parser() -> Parser:
    """Options of benchmarks/global_branch.py."""
    parser = _benchmark_parser("global_branch.py", "What the global branch of a QGCN is worth.", "10,50")
    _add_model(parser, "checkpoint of QGCN (default: the one for colour shipped in checkpoint/)")
    return parser


def estimation_benchmark_parser() -> Parser:
    """Options of benchmarks/estimate.py."""
    description = (
        "How often restore.py --estimate is right, in colour at 4:2:0, and how often it should have kept silent."
    )
    return _benchmark_parser("estimate.py", description, ",".join(map(str, range(10, 100, 10))))


def fetch_parser() -> Parser:
    """Options of src/fetch_data.py."""
    parser = Parser(prog="fetch_data.py", description="Fetch data sets and lay them out as the programs expect.")
    parser.add_argument("data", nargs="+", metavar="NAME", help="DIV2K, BSDS500, LIVE1 or Classic5")
    parser.add_argument("--to", default="data", metavar="FOLDER", help="the data root")
    parser.add_argument("--mirror", default="", metavar="URL", help="another address of the same archives")
    return parser


def given_options(parser: Parser, argv: list[str]) -> set[str]:
    """The names of the options that ``argv`` itself sets, as opposed to those left at their defaults."""
    unset = object()
    names = [action.dest for action in parser._actions if action.dest != "help"]
    parsed = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(names, unset)))
    return {name for name in names if getattr(parsed, name) is not unset}
