"""Fetching data sets, against a server of this machine: whole, broken, wrong and hostile archives."""

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import refused

from qgcn.evaluating import fetch as fetch_data
from qgcn.evaluating.fetch import Archive, fetch, unpack
from qgcn.utils.errors import UserError


def tar_of(files, **changes):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zip_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


IMAGES = {f"set/images/{i}.png": bytes([i]) * 2000 for i in range(3)}


@pytest.fixture
def server():
    """A server of this machine: path -> (body, the bytes of it that are sent)."""
    bodies = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in bodies:
                self.send_error(404)
                return
            body, sent = bodies[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:sent])

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", bodies
    running.shutdown()
    running.server_close()


def archive(address, name="set.tgz", **changes):
    arguments = {"url": f"{address}/{name}", "inside": "set/images", "place": "Set/test", "images": 3}
    return Archive(**arguments | changes)


def left_over():
    return sorted(path.as_posix() for path in Path("data").rglob("*") if path.is_file())


@pytest.mark.parametrize(("name", "body"), [("set.tgz", tar_of(IMAGES)), ("set.zip", zip_of(IMAGES))])
def test_an_archive_is_fetched_checked_and_put_in_place(server, name, body, capsys):
    address, bodies = server
    bodies[f"/{name}"] = (body, len(body))
    whole = archive(address, name, md5=hashlib.md5(body).hexdigest(), size=len(body))
    fetch(whole, Path("data"))
    assert left_over() == [f"data/Set/test/{i}.png" for i in range(3)]
    assert Path("data/Set/test/2.png").read_bytes() == IMAGES["set/images/2.png"]
    bodies.clear()  # what is in place is not fetched again
    fetch(whole, Path("data"))
    assert "in place" in capsys.readouterr().out


def test_a_mirror_serves_the_same_names(server):
    address, bodies = server
    body = tar_of(IMAGES)
    bodies["/mirror/set.tgz"] = (body, len(body))
    fetch(archive("http://127.0.0.1:1"), Path("data"), f"{address}/mirror/")
    assert len(left_over()) == 3


@pytest.mark.parametrize("body", [tar_of(IMAGES), zip_of(IMAGES)], ids=["tar", "zip"])
def test_a_broken_transfer_leaves_nothing_and_can_be_tried_again(server, body):
    address, bodies = server
    bodies["/set.tgz"] = (body, len(body) // 2)
    with pytest.raises(UserError, match="try again"):
        fetch(archive(address), Path("data"))
    assert left_over() == []
    bodies["/set.tgz"] = (body, len(body))
    fetch(archive(address), Path("data"))
    assert len(left_over()) == 3


def test_wrong_checksums_sizes_and_counts_are_told(server):
    address, bodies = server
    body = tar_of(IMAGES)
    bodies["/set.tgz"] = (body, len(body))
    for changes, words in (
        ({"md5": "0" * 32}, "MD5 checksum 0000"),
        ({"size": 17}, f"gave {len(body)} bytes instead of 17"),
        ({"images": 4}, "holds 3 images in set/images instead of 4"),
        ({"inside": "elsewhere"}, "holds 0 images in elsewhere"),
    ):
        with pytest.raises(UserError, match=words):
            fetch(archive(address, **changes), Path("data"))
        assert left_over() == []


@pytest.mark.parametrize("body", [tar_of(IMAGES), zip_of(IMAGES)], ids=["tar", "zip"])
def test_damage_within_an_archive_of_unknown_checksum_is_found(server, body):
    address, bodies = server
    middle = len(body) // 2
    damaged = body[:middle] + bytes([body[middle] ^ 255]) + body[middle + 1 :]
    bodies["/set.tgz"] = (damaged, len(damaged))
    with pytest.raises(UserError, match="damaged"):
        fetch(archive(address), Path("data"))
    assert left_over() == []


def test_a_server_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(fetch_data, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match="timed out; try again"):
            fetch(archive(address), Path("data"))
    assert left_over() == [] and socket.getdefaulttimeout() is None


def test_what_the_server_does_not_have_is_told(server):
    address, _ = server
    with pytest.raises(UserError, match="404"):
        fetch(archive(address), Path("data"))
    with pytest.raises(UserError, match="can't be fetched"):
        fetch(archive("http://127.0.0.1:1"), Path("data"))


@pytest.mark.parametrize(
    "body",
    [
        zip_of({"../evil.png": b"x"}),
        zip_of({"set/../../evil.png": b"x"}),
        zip_of({"/tmp/evil-of-a-test.png": b"x"}),
        zip_of({"..\\evil.png": b"x"}),
        zip_of({"C:/evil.png": b"x"}),
        tar_of({"../evil.png": b"x"}),
        tar_of({"/../evil.png": b"x"}),
        tar_of({"set/images/0.png": b""}, type=tarfile.SYMTYPE, linkname="../../../../etc/passwd"),
        tar_of({"set/images/0.png": b""}, type=tarfile.CHRTYPE),
    ],
)
def test_a_hostile_archive_writes_nothing_outside(server, body, tmp_path):
    address, bodies = server
    bodies["/set.tgz"] = (body, len(body))
    with pytest.raises(UserError):
        fetch(archive(address), Path("data"))
    assert left_over() == [] and not Path("/tmp/evil-of-a-test.png").exists()
    assert not list(tmp_path.rglob("evil*"))


def test_a_file_that_is_no_archive_is_damaged(tmp_path):
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"page\.zip is damaged"):
        unpack(tmp_path / "page.zip", tmp_path / "out")


def test_half_a_data_set_in_place_is_not_overwritten(server):
    address, _ = server
    Path("data/Set/test").mkdir(parents=True)
    Path("data/Set/test/0.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="holds 1 images instead of 3: move it away"):
        fetch(archive(address), Path("data"))
    assert Path("data/Set/test/0.png").read_bytes() == b"mine"


def test_the_program(call, server, monkeypatch):
    address, bodies = server
    body = tar_of(IMAGES)
    bodies["/set.tgz"] = (body, len(body))
    monkeypatch.setitem(fetch_data.ARCHIVES, "BSDS500", (archive(address),))
    assert call("fetch_data", "BSDS500").code == 0 and len(left_over()) == 3
    done = call("fetch_data", "LIVE1", "--to", "elsewhere")
    refused(done, "LIVE1 must be fetched by hand", "elsewhere/LIVE1", "https://live.ece.utexas.edu")
    refused(call("fetch_data", "Set14"), "'Set14'", "DIV2K, BSDS500, LIVE1, Classic5")
    Path("data/LIVE1").mkdir()
    Path("data/LIVE1/bikes.bmp").write_bytes(b"")
    assert call("fetch_data", "LIVE1").code == 0
    for place in ("release/LIVE1/refimgs", "lower/live1"):  # wherever evaluation finds the images
        Path(place).mkdir(parents=True)
        Path(place, "bikes.bmp").write_bytes(b"")
        done = call("fetch_data", "LIVE1", "--to", Path(place).parts[0])
        assert (done.code, done.out) == (0, f"{place}: 1 images are in place\n")


def test_data_sets_go_where_the_programs_look_for_them():
    import params
    from qgcn.evaluating.datasets import DATASETS

    places = {archive.place for archives in fetch_data.ARCHIVES.values() for archive in archives}
    assert f"data/{fetch_data.ARCHIVES['DIV2K'][0].place}" == params.training_parser().get_default("imgGTRoot")
    assert f"data/{fetch_data.ARCHIVES['DIV2K'][1].place}" == params.training_parser().get_default("imgValidRoot")
    for name in ("BSDS500", "DIV2K"):
        assert DATASETS[name][0] in places
    assert all(name in DATASETS[name] for name in fetch_data.BY_HAND)
