"""Losses against PyTorch's."""

import pytest
import torch
from torch.nn import functional

from qgcn.training.epoch import build_loss
from qgcn.utils.errors import UserError


@pytest.mark.parametrize(("name", "peer"), [("L1", functional.l1_loss), ("L2", functional.mse_loss)])
def test_losses_are_torchs_sample_by_sample(name, peer):
    a, b = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    losses = build_loss(name)(a, b)
    torch.testing.assert_close(losses, torch.stack([peer(x, y) for x, y in zip(a, b, strict=True)]))
    torch.testing.assert_close(losses.mean(), peer(a, b))


def test_an_unknown_loss_is_told():
    with pytest.raises(UserError, match="'L3' is unknown: choose from L1, L2"):
        build_loss("L3")
