"""Files are either whole or not there."""

import os

import pytest

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
