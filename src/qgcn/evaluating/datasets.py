"""The test sets by name, and where they lie."""

from pathlib import Path

from qgcn.utils.errors import UserError
from qgcn.utils.image import image_files, sample_photographs

DATASETS = {
    "LIVE1": ("LIVE1/refimgs", "LIVE1", "live1"),
    "BSDS500": ("BSDS500/test", "BSDS500/images/test", "BSDS500/data/images/test", "BSR/BSDS500/data/images/test"),
    "DIV2K": ("DIV2K/DIV2K_valid_HR", "DIV2K_valid_HR"),
    "Classic5": ("Classic5", "classic5"),
}
"""Data set -> where its images may lie under --dataroot; the first that exists is used. None holds other images, too
(a release's training or distorted ones)."""


def find_images(data: str, root: str | Path) -> tuple[list[Path], Path]:
    """The images of a data set by name, or of any folder, and the folder that holds them.

    Args:
        data: a key of DATASETS, 'sample' (the photographs of scikit-image), or a folder.
        root: the folder below which data sets lie.

    Raises:
        UserError: if it is not there, saying where it was looked for.
    """
    if data == "sample":
        files = sample_photographs()
        return files, files[0].parent
    if data in DATASETS:
        folder = next(filter(Path.is_dir, (Path(root, place) for place in DATASETS[data])), None)
        if folder is None:
            raise UserError(
                f"{data} is not in {str(root)!r}: give --dataroot, or src/fetch_data.py {data} gets it or says how to"
            )
    else:
        folder = Path(data)
        if not folder.is_dir():
            raise UserError(f"--gtdata {data!r} is neither a folder nor one of {', '.join(DATASETS)}, sample")
    return image_files(folder), folder
