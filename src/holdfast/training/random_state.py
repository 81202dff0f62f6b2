"""Where torch's global generators stand."""

import torch
from torch import Tensor

States = dict[str, Tensor | None]


def random_state(device: torch.device) -> States:
    """The states of the CPU's generator and, where training runs on CUDA, of the device's."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def set_random_state(states: States, device: torch.device) -> None:
    """The inverse of `random_state`; a state of CUDA is left alone on another device."""
    cpu, cuda = states["torch"], states["cuda"]
    assert cpu is not None
    torch.set_rng_state(cpu)
    if device.type == "cuda" and cuda is not None:
        torch.cuda.set_rng_state(cuda, device)
