"""QGCN: one model for JPEG artifact removal over every quality factor (Li, Wang, Xie and Ma, IEEE TIP 2020).

The library's face. What it names is brought in when it is asked for, so that importing it is cheap.
"""

from importlib import import_module

_PLACES = {
    "Restorer": "qgcn.restoring.restorer",
    "load_model": "qgcn.restoring.model",
    "psnr": "qgcn.evaluating.metrics",
    "ssim": "qgcn.evaluating.metrics",
    "psnr_b": "qgcn.evaluating.metrics",
}

__all__ = list(_PLACES)


def __getattr__(name: str):
    """One of the names of ``__all__``."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
