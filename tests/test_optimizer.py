"""Muon: its matrices, its steps against PyTorch's own, and the choice of an optimizer."""

import pytest
import torch

from qgcn import nets
from qgcn.training.optimizer import STEP, Muon, MuonAdam, build_optimizer, orthogonal
from qgcn.utils.errors import UserError

COLOUR = {"in_channel": 5, "out_channel": 3, "n_feats": 8, "n_resblocks": 2}


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonal_keeps_singular_vectors_and_evens_singular_values_out(shape):
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(shape[0], min(shape)))
    right, _ = torch.linalg.qr(torch.randn(shape[1], min(shape)))
    values = torch.logspace(0, -2, min(shape))
    found = left.T @ orthogonal(left @ values.diag() @ right.T) @ right
    assert torch.allclose(found, found.diag().diag(), atol=1e-4)
    assert found.diag().min() > 0.6 and found.diag().max() < 1.3


def test_a_gradient_of_zeros_changes_nothing():
    assert torch.equal(orthogonal(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_steps_are_those_of_pytorchs_muon():
    peer_class = getattr(torch.optim, "Muon", None)
    if peer_class is None:
        pytest.skip("this PyTorch has no Muon")
    torch.manual_seed(1)
    start = torch.randn(8, 16)
    ours, peers = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizer = Muon([ours], lr=0.1)
    peer = peer_class([peers], lr=0.1 * STEP / 0.2, weight_decay=0, adjust_lr_fn="match_rms_adamw")  # 0.2 a step
    for _ in range(5):
        gradient = torch.randn(8, 16)
        ours.grad, peers.grad = gradient, gradient.clone()
        optimizer.step()
        peer.step()
    assert (ours - start).norm() > 1
    assert (ours - peers).norm() < 0.03 * (ours - start).norm()  # PyTorch's is computed in bfloat16


def test_a_step_has_a_root_mean_square_of_a_fixed_multiple_of_the_learning_rate():
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.randn(48, 48, 3, 3))
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=1e-3).step()
    assert 0.7e-3 < (weight.detach() - before).square().mean().sqrt() / STEP < 1.3e-3


def test_muon_takes_residual_blocks_and_adam_the_rest():
    network = nets.build("qmarg", COLOUR | {"global_feats": 2, "global_hidden": 4})
    optimizer = build_optimizer("muon", network, 1e-3)
    assert isinstance(optimizer, MuonAdam)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    parts = {
        part: {names[id(p)] for group in one.param_groups for p in group["params"]}
        for part, one in optimizer.parts.items()
    }
    assert parts["muon"] == {f"residual{half}.0.conv{i}.weight" for half in (1, 2) for i in (1, 2)}
    assert parts["muon"] | parts["adam"] == set(names.values()) and not parts["muon"] & parts["adam"]


def test_adam_is_pytorchs():
    optimizer = build_optimizer("adam", nets.build("qmar", COLOUR), 1e-4)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.9, 0.999) and optimizer.defaults["eps"] == 1e-8


def test_other_choices_are_refused():
    with pytest.raises(UserError, match="'sgd' is unknown: choose from adam, muon"):
        build_optimizer("sgd", nets.build("qmar", COLOUR), 1e-4)
    with pytest.raises(UserError, match="residual blocks"):
        build_optimizer("muon", nets.build("arcnn", {}), 1e-4)
