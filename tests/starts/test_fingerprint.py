import copy

import torch
from torch import nn

from holdfast.starts import fingerprint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_equal_nets_have_one_print_whatever_their_names_and_modes():
    one = net()
    assert len(fingerprint(one)) == 32
    assert fingerprint(one) == fingerprint(copy.deepcopy(one).eval())
    assert fingerprint(one) == fingerprint(nn.ModuleDict({"module": one}))
    assert fingerprint(one.requires_grad_(False)) == fingerprint(net())


def test_one_bit_of_a_parameter_or_a_buffer_changes_it():
    one = net()
    prints = {fingerprint(one)}
    with torch.no_grad():
        weight = one[0].weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    prints.add(fingerprint(one))
    one[1].running_mean[2] += 1e-3
    prints.add(fingerprint(one))
    prints.add(fingerprint(one.bfloat16()))
    assert len(prints) == 4


def test_types_and_shapes_count():
    wide, tall = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        tall.weight.copy_(wide.weight.reshape(2, 3))
    assert fingerprint(wide) != fingerprint(tall)
    assert fingerprint(nn.Identity()) == fingerprint(nn.ReLU())
    scalar = nn.Module()
    scalar.register_buffer("steps", torch.tensor(3))
    assert len(fingerprint(scalar)) == 32
