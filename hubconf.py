"""torch.hub: one function a network, with its shipped weights.

::

    network = torch.hub.load("path/to/this/repository", "qcn", source="local", mode="RGB")

Each takes ``mode``, 'RGB' (default) or 'L' for gray, and returns a torch.nn.Module in evaluation mode. What goes into
it is in src/qgcn/dataset/inputs.py; to restore files, take qgcn.Restorer instead.
"""

import importlib.util
import sys
from pathlib import Path

dependencies = ["torch", "numpy", "PIL", "skimage"]

ROOT = Path(__file__).resolve().parent


def _package() -> None:
    """Make the package qgcn of this repository importable, and nothing else of it."""
    if "qgcn" not in sys.modules:
        place = ROOT / "src" / "qgcn"
        spec = importlib.util.spec_from_file_location(
            "qgcn", place / "__init__.py", submodule_search_locations=[str(place)]
        )
        sys.modules["qgcn"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["qgcn"])


def _network(name: str, mode: str):
    """The network of checkpoint/NAME_rgb.pth or NAME_gray.pth; raises ValueError if none is shipped."""
    _package()
    from qgcn import checkpoints
    from qgcn.utils.errors import UserError
    from qgcn.utils.image import check_color_mode

    path = ROOT / "checkpoint" / f"{name}_{'rgb' if check_color_mode(mode) == 'RGB' else 'gray'}.pth"
    if not path.is_file():
        raise UserError(f"no {name} is shipped for mode {mode!r}: the modes are 'RGB' for colour and 'L' for gray")
    return checkpoints.build_network(checkpoints.load(path)).eval()


def qcn(mode: str = "RGB"):
    """QCN: pixels and quantization maps -> restored image."""
    return _network("qcn", mode)


def qgcn(mode: str = "RGB"):
    """QGCN: QCN's input and the whole image at 112 x 112 -> restored image."""
    return _network("qgcn", mode)


def qcn_plus(mode: str = "RGB"):
    """QCN+, for files as people have them: QCN's input and more maps -> restored image."""
    return _network("qcn_plus", mode)


def edsr(mode: str = "RGB"):
    """EDSR: pixels -> restored image, in colour alone."""
    return _network("edsr", mode)


def arcnn(mode: str = "RGB"):
    """AR-CNN: pixels -> restored image, in colour alone."""
    return _network("arcnn", mode)
