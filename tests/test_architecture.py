"""The house: who may import whom, and how large a room may be."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

SOURCE = ROOT / "src" / "qgcn"
MODULES = sorted(SOURCE.rglob("*.py"))
PROGRAMS = sorted((ROOT / "src").glob("*.py"))
ORDER = ("utils", "jpeg", "dataset", "nets", "checkpoints", "backends", "restoring", "evaluating")
"""Each room imports those before it; training and paper import all of these, but not each other."""


def name(path):
    return path.relative_to(ROOT / "src").as_posix()


def imported(path):
    """The dotted names of this project that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "qgcn":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "qgcn"}
    return found


def test_the_programs_are_the_nine_that_users_know_and_are_short():
    expected = "convert eval eval_qm eval_qmg export fetch_data main paper restore"
    assert [path.stem for path in PROGRAMS] == expected.split()
    assert {path.name: len(path.read_text().splitlines()) for path in PROGRAMS if _lines(path) >= 40} == {}


def _lines(path):
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != SOURCE], ids=name)
def test_nothing_imports_upwards(path):
    room = path.relative_to(SOURCE).parts[0]
    below = ORDER[: ORDER.index(room)] if room in ORDER else ORDER
    rooms = {dotted.split(".")[1] for dotted in imported(path)} - {room}
    assert rooms <= set(below), f"{name(path)} imports {rooms - set(below)}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_has_over_300_lines_and_no_class_over_150(path):
    assert _lines(path) <= 300
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if node.end_lineno - node.lineno >= 150] == []


def loaded(code):
    """The modules that a fresh Python holds after ``code``."""
    script = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_is_cheap():
    assert {"torch", "numpy", "PIL", "skimage"}.isdisjoint(loaded("import qgcn"))


def test_the_library_loads_neither_the_optimizer_nor_the_crops():
    modules = loaded("from qgcn import Restorer, load_model, psnr, ssim, psnr_b")
    assert "qgcn.restoring.restorer" in modules and "qgcn.evaluating.metrics" in modules
    assert {"qgcn.training", "qgcn.dataset.crops", "qgcn.paper", "skimage"}.isdisjoint(modules)


def test_the_face_names_what_it_offers():
    import qgcn

    assert all(callable(getattr(qgcn, attribute)) for attribute in qgcn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Restore'"):
        _ = qgcn.Restore
