"""Files are either whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from qgcn.utils import files
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write, check_output, locked, name_of, remove_leftovers, write_text


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "naïve")
    assert path.read_bytes() == "naïve".encode()
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_whatever_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    for failure in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(failure), atomic_write(path) as file:
            file.write(b"half")
            assert path.read_text() == "old"
            raise failure
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_costs_the_new_file_only(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file.txt"
    write_text(path, "old")
    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_places_that_can_not_be_written_to_are_told_and_stay_as_they_are(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "new")
    with pytest.raises((NotADirectoryError, FileExistsError)):
        write_text(tmp_path / "file" / "below", "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"] and (tmp_path / "file").read_text() == "old"


def test_an_output_is_no_input_whether_it_is_there_or_not(tmp_path):
    here = tmp_path / "here.csv"
    here.touch()
    (tmp_path / "link.csv").symlink_to(here)
    for output, source in (("here.csv", "link.csv"), ("new.csv", "../" + tmp_path.name + "/new.csv")):
        with pytest.raises(UserError, match="is an input"):
            check_output(tmp_path / output, ".csv", [tmp_path / source])
    check_output(tmp_path / "new.csv", ".csv", [here])
    assert sorted(os.listdir(tmp_path)) == ["here.csv", "link.csv"]


def test_a_folder_is_locked_by_one_at_a_time(tmp_path):
    for _ in range(2):  # what was left is no lock
        with (
            locked(tmp_path / "run", "busy"),
            pytest.raises(UserError, match="busy"),
            locked(tmp_path / "run", "busy"),
        ):
            pass


def test_leftovers_are_those_of_this_program(tmp_path):
    for name in (f".{'0a' * 16}.tmp", ".mine.tmp", "file.tmp", f".{'0a' * 16}x.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f".{'0a' * 16}x.tmp", ".mine.tmp", "file.tmp"]


def test_any_name_can_be_printed():
    assert name_of(Path("näive") / "a.png") == "näive/a.png"
    assert name_of(Path(os.fsdecode(b"\xe9\xff.png"))) == r"\xe9\xff.png"


def test_a_full_disk_is_told_with_the_name_of_the_output(monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: 'out\.png'"), atomic_write("out.png") as file:
        file.write(b"much")
    assert list(Path().iterdir()) == []
