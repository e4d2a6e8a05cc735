"""Training samples: what decides them, and that each is used once."""

import hashlib

import numpy as np
import pytest
import torch

from qgcn.dataset.crops import CompressedCrops, SampleKey, StepSampler, dihedral, disjoint_crops
from qgcn.dataset.degradation import Published, Real
from qgcn.jpeg.codec import PillowCodec


def data(photo, **changes):
    arguments = {
        "images": [photo[:100, :200], photo[200:300, 50:114]],
        "size": 64,
        "seed": 0,
        "degradation": Published((5, 7), "RGB", PillowCodec()),
    }
    return CompressedCrops(**arguments | changes)


def sampler(**changes):
    arguments = {"crops": np.array([3, 1, 5]), "samples": 9, "batch": 4, "seed": 0}
    return StepSampler(**arguments | changes)


def test_the_eight_flips_and_rotations_are_different_and_complete():
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    turned = {dihedral(image, i).tobytes() for i in range(8)}
    expected = {
        np.ascontiguousarray(a).tobytes()
        for k in range(4)
        for a in (np.rot90(image, k), np.rot90(image.transpose(1, 0, 2), k))
    }
    assert turned == expected and len(turned) == 8
    assert np.array_equal(dihedral(image, 0), image)


def test_a_sample_is_a_crop_turned_then_compressed(photo):
    samples = data(photo)
    places, qualities, turns = set(), set(), set()
    for index in range(60):
        pixels, tables, reduction, crop = samples[SampleKey(0, index, 0, 1.0)]
        assert reduction.tolist() == [2, 2]
        found = [
            (turn, top, left)
            for turn in range(8)
            for inverse in [dihedral(crop, 1 | (turn & 2) << 1 | (turn & 4) >> 1 if turn & 1 else turn)]
            for top, left in _positions(photo[:100, :200], inverse)
        ]
        assert len(found) == 1
        turns.add(found[0][0])
        places.add(found[0][1:])
        matching = [q for q in (5, 6, 7) if np.array_equal(PillowCodec().compress(crop, q).tables, tables)]
        assert len(matching) == 1 and np.array_equal(PillowCodec().compress(crop, matching[0]).pixels, pixels)
        qualities.add(matching[0])
    assert qualities == {5, 6, 7} and turns == set(range(8)) and len(places) > 50


def _positions(image, crop):
    """Where ``crop`` stands in ``image``."""
    rows = (image.shape[0] - 63, image.shape[1] - 63)
    corner = (image[: rows[0], : rows[1]] == crop[0, 0]).all(2)
    return [
        (y, x) for y, x in zip(*corner.nonzero(), strict=True) if np.array_equal(image[y : y + 64, x : x + 64], crop)
    ]


def test_a_sample_depends_on_seed_and_key_alone(photo):
    key = SampleKey(3, 17, 1, 1.0)
    first, again = data(photo)[key], data(photo)
    again[SampleKey(0, 0, 0, 1.0)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again[key], strict=True))
    for other in (data(photo, seed=1)[key], data(photo)[key._replace(epoch=4)], data(photo)[key._replace(index=18)]):
        assert not np.array_equal(first.ground_truth, other.ground_truth)


def test_published_samples_are_those_of_before_there_was_a_choice(photo):
    images = [photo[:100, :200], photo[200:300, 50:114]]
    samples = data(photo, images=images, seed=7, degradation=Published((1, 100), "RGB", PillowCodec()))
    digest = hashlib.sha256()
    for index in range(50):
        _, tables, _, crop = samples[SampleKey(index % 3, index, index % 2, 1.0)]
        digest.update(tables.tobytes() + crop.tobytes())
    assert digest.hexdigest()[:16] == "e891ccaf01bf6510"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_real_samples_depend_on_seed_and_key_alone(photo, mode):
    first, again = (data(photo, degradation=Real((1, 100), mode)) for _ in range(2))
    keys = [SampleKey(3, index, 1, 1.0) for index in range(20)]
    again[keys[5]]
    for key in keys:
        assert all(np.array_equal(a, b) for a, b in zip(first[key], again[key], strict=True))
    batch = first.__getitems__(keys)
    channels = 3 if mode == "RGB" else 1
    assert batch.compressed.shape == batch.ground_truth.shape == (20, 64, 64, channels)
    assert batch.tables.shape == (20, min(channels, 2), 8, 8) and batch.tables.min() >= 1
    assert batch.reductions.shape == (20, 2) and len({tuple(pair) for pair in batch.reductions.tolist()}) > 1
    assert len({tables.tobytes() for tables in batch.tables}) > 15


def test_a_batch_is_uint8_and_holds_its_samples(photo):
    samples = data(photo)
    keys = [SampleKey(0, i, i % 2, 0.5) for i in range(4)]
    batch = samples.__getitems__(keys).to(torch.device("cpu"))
    assert batch.compressed.dtype == batch.tables.dtype == batch.ground_truth.dtype == torch.uint8
    assert batch.compressed.shape == (4, 3, 64, 64) and batch.tables.shape == (4, 2, 8, 8)
    assert batch.weights.tolist() == [0.5] * 4
    assert np.array_equal(batch.ground_truth[3].permute(1, 2, 0), samples[keys[3]].ground_truth)


def test_disjoint_crops_are_counted():
    assert disjoint_crops([(128, 192, 3), (127, 64, 3), (63, 999, 3)], 64).tolist() == [6, 1, 0]


def test_images_turn_up_as_often_as_they_hold_crops():
    steps = sampler()
    assert np.bincount(steps.image_order()).tolist() == [3, 1, 5]
    steps.set_position(1)
    second = steps.image_order()
    assert np.bincount(second).tolist() == [3, 1, 5]
    assert sampler(samples=27).image_order().size == 27
    assert np.bincount(sampler(samples=27).image_order()).tolist() == [9, 3, 15]
    assert not np.array_equal(sampler(samples=900).image_order(), sampler(samples=900, seed=1).image_order())


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_sample_is_used_once_whatever_the_number_of_processes(world):
    parts = [list(sampler(rank=rank, world=world)) for rank in range(world)]
    assert {len(part) for part in parts} == {3} == {len(sampler(rank=0, world=world))}
    for step in range(3):
        keys = [key for part in parts for key in part[step]]
        counted = [key for key in keys if key.weight]
        assert sorted(key.index for key in counted) == list(range(4 * step, min(4 * step + 4, 9)))
        assert sum(key.weight for key in keys) / world == pytest.approx(1)
        assert all(part[step] for part in parts)  # every process takes part, so that none waits for ever


def test_a_position_within_an_epoch_continues_with_its_tail():
    whole = sampler()
    whole.set_position(2)
    steps = list(whole)
    rest = sampler()
    rest.set_position(2, 4)
    assert list(rest) == steps[1:] and len(rest) == 2
