"""Quantization tables at random: strengths, shapes, shares."""

import json
from collections import Counter

import numpy as np
import pytest
from conftest import many
from numpy.random import default_rng

from qgcn.dataset.degradation import draw_quality
from qgcn.jpeg import random_tables
from qgcn.jpeg.random_tables import FAMILIES, HELD_OUT_MAKERS, LOW, TABLES, choose, draw_tables
from qgcn.jpeg.tables import standard_tables, tables_in_files


def test_the_shares_of_families_are_whole():
    assert sum(TABLES.values()) == 1 and TABLES.keys() == FAMILIES.keys()
    assert choose(default_rng(0), {"only": 0.1}) == "only"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quality", [10, 50, 90])
def test_tables_of_every_family_are_about_as_strong_as_standard_ones(family, quality):
    wanted = np.log2(standard_tables(quality)[0][LOW]).mean()
    found = many(lambda random: draw_tables(random, quality, {family: 1.0}))
    assert all(t.dtype == np.uint8 and t.shape[1:] == (8, 8) and len(t) in (2, 3) and t.min() >= 1 for t in found)
    strengths = np.array([np.log2(tables[0][LOW]).mean() for tables in found])
    if family != "files":  # half of which are as the file has them
        assert abs(np.median(strengths) - wanted) < 0.35
    if family == "standard" and quality < 90:
        assert np.abs(strengths - wanted).max() < 0.2


def test_half_of_the_tables_are_standard_but_for_rounding():
    known = np.stack([standard_tables(quality)[0] for quality in range(1, 101)]).astype(int)
    found = many(lambda random: draw_tables(random, draw_quality(random, (1, 100))), 1000)
    near = [np.abs(known - tables[0]).max((1, 2)).min() <= 1 for tables in found]
    assert 0.47 < np.mean(near) < 0.62


def test_standard_tables_are_now_and_then_rounded_otherwise_or_have_another_chroma():
    own = standard_tables(50).astype(int)
    found = many(lambda random: random_tables.standard(random, 50), 2000)
    apart = np.array([np.abs(np.rint(tables) - own).max((1, 2)) for tables in found])
    assert set(apart[:, 0].tolist()) == {0, 1} and 0.16 < np.mean(apart[:, 0]) < 0.24
    assert 0.02 < np.mean(apart[:, 1] > 1) < 0.08  # another quality, which is finer


def test_random_tables_stop_growing_now_and_then():
    found = np.stack(many(lambda random: random_tables.smooth(random, 30)[0], 600))
    largest = found.max((1, 2), keepdims=True)
    capped = (np.isclose(found, largest).sum((1, 2)) > 3) & (np.ptp(found, (1, 2)) > 1)
    assert 0.03 < np.mean(capped) < 0.25


def test_random_tables_are_flat_falling_and_steep_and_chroma_up_to_three_times_as_coarse():
    found = np.stack([np.log2(t[:2]) for t in many(lambda random: draw_tables(random, 50, {"random": 1.0}), 1000)])
    rise = found[:, 0, 6:, 6:].mean((1, 2)) - found[:, 0, :2, :2].mean((1, 2))
    assert 0.15 < np.mean(np.ptp(found[:, 0], (1, 2)) == 0) < 0.25
    assert 0.05 < np.mean(rise < -0.5) < 0.2 and np.mean(rise > 2) > 0.25 and rise.max() > 3.5
    coarser = (found[:, 1] - found[:, 0])[:, LOW].mean(1)
    assert -0.8 < np.percentile(coarser, 2) < 0 and 1.2 < np.percentile(coarser, 98) < 1.8


def test_now_and_then_there_is_one_table_for_all_or_a_third_one():
    found = many(lambda random: draw_tables(random, 50, {"standard": 1.0}), 2000)
    assert 0.07 < np.mean([np.array_equal(tables[0], tables[1]) for tables in found]) < 0.13
    thirds = [tables for tables in found if len(tables) == 3]
    assert 0.01 < len(thirds) / len(found) < 0.035
    assert any(not np.array_equal(tables[1], tables[2]) for tables in thirds)


def test_makers_that_are_held_out_are_not_drawn_and_the_others_are():
    entries = tables_in_files()
    assert {entry.maker for entry in entries} > HELD_OUT_MAKERS
    keys = {}
    for entry in entries:
        pair = np.stack([entry.luma, entry.luma if entry.chroma is None else entry.chroma])
        keys.setdefault(pair.astype(int).tobytes(), set()).add(entry.maker)
    drawn = Counter()
    for logarithm in many(random_tables._of_a_file, 3000):
        drawn[np.rint(2.0**logarithm).astype(int).tobytes()] += 1
    assert len(drawn) > 200
    assert all(keys[pair] - HELD_OUT_MAKERS for pair in drawn)


def test_the_tables_of_files_are_a_small_file_of_valid_tables(shared_data):
    entries = tables_in_files()
    assert len(entries) == len({(e.luma.tobytes(), None if e.chroma is None else e.chroma.tobytes()) for e in entries})
    assert all(entry.luma.min() >= 1 and entry.luma.max() < 65536 for entry in entries)
    source = json.loads((shared_data.parent / "tables" / "tables.json").read_text())
    pairs = {
        (np.array(e["luma"], np.uint16).tobytes(), e["chroma"] and np.array(e["chroma"], np.uint16).tobytes())
        for e in source
        if e["family"] == "other"
    }
    assert {(e.luma.tobytes(), None if e.chroma is None else e.chroma.tobytes()) for e in entries} <= pairs
