"""Going on with a run: its options, and what the command line may change of them."""

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgcn import checkpoints, nets
from qgcn.training.log import OPTIONS
from qgcn.training.state import BEST, LAST
from qgcn.utils.errors import UserError

CHECKPOINTS = Path("checkpoint")
"""Where run folders lie."""

ARCHITECTURE = (
    "net", "n_colors", "in_channel", "out_channel", "in_glo_channel", "n_resblocks", "n_feats", "res_scale",
    "global_feats", "global_hidden", "colorMode", "dataloader",
)  # fmt: skip
"""Options that make the network, which a resumed run can't change."""


def resume_options(options: Namespace, given: set[str]) -> tuple[Namespace, dict[str, Any], list[str]]:
    """The options to go on with, the checkpoint to go on from, and a sentence for each option that has changed.

    Options that the command line gives win over the run's own, which win over the defaults.

    Args:
        options: of the command line, with ``resume``, a checkpoint or a run folder.
        given: the names of the options that the command line sets.

    Raises:
        UserError: if the checkpoint can't be resumed, or the command line changes the network.
    """
    path = Path(options.resume)
    path = path / LAST if path.is_dir() else path
    content = checkpoints.load(path)
    if "training" not in content:
        raise UserError(f"{str(path)!r} holds no training state to --resume: start from its weights with --pretrained")
    old = {"optimizer": "adam"} | content["opt"]  # runs from before there was a choice
    if old.pop("hold_identity", False):  # which was an option of its own once
        old["init"] = "identity"
    _check_unchanged(options, given, old, path)
    kept = vars(options).keys() & old.keys() - given - {"cuda", "gpus"}  # it may go on on another machine
    merged = vars(options) | {name: old[name] for name in kept}
    folder = CHECKPOINTS / options.savedir
    if "savedir" not in given:
        if not (path.parent / OPTIONS).exists():
            raise UserError(f"{str(path)!r} does not lie in a run's folder: give the run one with --savedir NAME")
        merged["savedir"] = os.path.abspath(path.parent)
    elif folder.resolve() != path.parent.resolve() and any(folder.glob("model_*.pth")):
        raise UserError(f"{str(folder)!r} already holds another run: give another --savedir, or leave it out")
    if "nEpochs" in given and "minutes" not in given:
        merged["minutes"] = None  # or the clock would end the run, whatever the epochs
    return Namespace(**merged), content, _changes(merged, given, old)


def _check_unchanged(options: Namespace, given: set[str], old: Mapping[str, Any], path: Path) -> None:
    """Refuse options of the command line that contradict the run's network or optimizer."""
    for name in sorted(given & {"pretrained", "init"}):
        raise UserError(f"--{name} is what a run starts from, and --resume goes on with one: give one of them")
    if "optimizer" in given and options.optimizer != old["optimizer"]:
        state = f"the state of {old['optimizer']} in {str(path)!r}"
        raise UserError(f"--optimizer {options.optimizer} can't use {state}: start from its weights with --pretrained")
    for name in ARCHITECTURE:
        new = getattr(options, name)
        before = old.get(name, new)
        if name in given and nets.ALIASES.get(new, new) != nets.ALIASES.get(before, before):
            trained = f"{before}, with which {str(path)!r} was trained"
            raise UserError(f"--{name} {new} differs from {trained}: a resumed run keeps its network")


def _changes(merged: Mapping[str, Any], given: set[str], old: Mapping[str, Any]) -> list[str]:
    """A sentence for each option that is another than the run's."""
    names = sorted(given & old.keys() - {"resume", "savedir", "cuda"})
    changed = [name for name in names if plain(merged[name]) != old[name]]
    sentences = [f"--{name} is now {merged[name]}; it was {old[name]}" for name in changed]
    gone = sorted(name for name in old.keys() - merged.keys() if old[name])
    sentences += [f"--{name}, an option of this run, has gone: the run goes on without it" for name in gone]
    if old.get("minutes") and merged["minutes"] is None:
        sentences.append(f"--nEpochs {merged['nEpochs']} ends the run now, not --minutes {old['minutes']:g}")
    if merged["cuda"] != old.get("cuda", merged["cuda"]):
        there, here = "the run goes on on a GPU; it was on the CPU", "the run goes on on the CPU; it was on a GPU"
        sentences.append(there if merged["cuda"] else f"{here}, which takes --cuda again")
    return sentences


def best_still_counts(options: Namespace, content: Mapping[str, Any], folder: Path) -> bool:
    """Whether the best validation of a checkpoint is still that of BEST in ``folder``, and of the same images."""
    names = ["validation", "imgValidRoot", "holdout", "valid_quality", "codec"] + ["imgGTRoot"] * bool(options.holdout)
    if any(plain(getattr(options, name)) != content["opt"].get(name) for name in names):
        return False
    best = folder / BEST
    return best.exists() and checkpoints.load(best)["epoch"] <= content["epoch"]  # not of epochs that are taken back


def plain(value: Any) -> Any:
    """An option as checkpoints store it."""
    return list(value) if isinstance(value, tuple) else value
