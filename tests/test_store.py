"""The image store."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from qgcn.dataset import store
from qgcn.dataset.store import ImageStore
from qgcn.training.data import split_holdout
from qgcn.utils.image import image_files, luminance


def filled(folder, mode="RGB", place="store"):
    images = ImageStore(place, mode)
    images.add(image_files(folder), progress=False)
    assert images.unreadable == []
    return images


def test_images_are_stored_as_they_are(folder_of_photos):
    images = filled(folder_of_photos)
    assert len(images) == 6 and images.shapes == [(96, 128, 3)] * 6
    for file, image in zip(image_files(folder_of_photos), (images[i] for i in range(6)), strict=True):
        assert isinstance(image.base, np.memmap) and image.dtype == np.uint8
        assert np.array_equal(image, np.asarray(Image.open(file)))
    gray = filled(folder_of_photos, "L")
    assert gray.shapes == [(96, 128, 1)] * 6
    assert np.array_equal(gray[0][..., 0], luminance(np.asarray(images[0])))


def test_an_image_is_decoded_once(folder_of_photos, monkeypatch):
    filled(folder_of_photos)
    monkeypatch.setattr(store, "load_image", None)
    assert len(filled(folder_of_photos)) == 6


def test_a_changed_image_is_stored_anew_and_its_old_copy_stays_for_those_who_read_it(folder_of_photos, photo):
    before = filled(folder_of_photos)
    file = folder_of_photos / "0.png"
    Image.fromarray(photo[:50, :60]).save(file)
    after = filled(folder_of_photos)
    assert after.shapes[0] == (50, 60, 3) and np.array_equal(after[0], photo[:50, :60])
    assert before[0].shape == (96, 128, 3)  # opened only now
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert filled(folder_of_photos).files[0] != after.files[0]


def test_a_damaged_copy_is_made_again(folder_of_photos):
    before = filled(folder_of_photos)
    for file, size in zip(before.files, (0, 10, 100, 200, 500, 5000), strict=True):
        file.write_bytes(file.read_bytes()[:size])
    store._mapped.cache_clear()
    after = filled(folder_of_photos)
    assert all(np.array_equal(after[i], np.asarray(Image.open(after.sources[i]))) for i in range(6))


def test_files_that_can_not_be_read_are_told_and_left_out(folder_of_photos):
    (folder_of_photos / "1.png").write_bytes((folder_of_photos / "1.png").read_bytes()[:-500])
    (folder_of_photos / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder_of_photos / "link.png").symlink_to("nowhere.png")
    images = ImageStore("store", "RGB")
    images.add(image_files(folder_of_photos), progress=False)
    sentences = images.unreadable
    assert len(sentences) == 3 and len(images) == 4 == len(images.sources) == len(os.listdir("store"))
    for name, sentence in zip(("1.png", "3.png", "link.png"), sentences, strict=True):
        assert f"{name}' can't be read: " in sentence


def build(folder, start, results):
    start.wait()
    results.put([image.tobytes() for image in map(filled(folder).__getitem__, range(6))])


@pytest.mark.parametrize("attempt", range(3))
def test_processes_may_build_one_store_at_once(folder_of_photos, attempt):
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=build, args=(folder_of_photos, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    built = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert all(one == built[0] for one in built)
    assert len(os.listdir("store")) == 6


def test_workers_share_the_store_by_name(folder_of_photos):
    images = filled(folder_of_photos)
    assert len(pickle.dumps(images)) < 5000
    assert np.array_equal(pickle.loads(pickle.dumps(images))[2], images[2])


def test_every_nth_file_of_each_folder_is_held_out(folder_of_photos):
    files = image_files(folder_of_photos)
    training, held_out = split_holdout(files, 2)
    assert [file.name for file in held_out] == ["1.png", "3.png", "5.png"]
    assert sorted(training + held_out) == files
    assert split_holdout(files, None) == (files, [])
