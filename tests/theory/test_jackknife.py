import torch
from theory_cases import drawn, two_tasks

from holdfast.theory.jackknife import jackknife


def test_jackknife_of_nearly_linear_losses_is_the_error_of_the_mean():
    own = two_tasks()
    outputs = 3 + 1e-4 * drawn(0, 8, 7, 6, 1)
    losses = torch.stack([own.losses(f) for f in outputs])
    expected = losses.std(0) / 8**0.5
    torch.testing.assert_close(jackknife(own, outputs), expected, rtol=1e-3, atol=0)
