"""Files are either whole or not there."""

import errno
import os

import pytest

from utils import files
from utils.files import atomic_write, write_text


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
