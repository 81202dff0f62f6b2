"""What the modules of a model give, by name."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

OUTPUT = "output"
"""Name of what the model itself gives."""

Forward = Callable[[nn.Module, Tensor], Tensor]


def paths_of(model: nn.Module) -> list[str]:
    """Paths of the modules that hold parameters, their own or in modules below; that of the model
    is empty.
    """
    return [p for p, m in model.named_modules() if next(m.parameters(), None) is not None]


def common_paths(models: Sequence[Collection[str]]) -> list[str]:
    """The paths that all models have, but for those below a module with other children elsewhere.

    The first of three blocks and the first of thirty are different places in a net; what comes
    behind all blocks is the same.

    >>> common_paths([["", "stem", "blocks", "blocks.0"],
    ...               ["", "stem", "blocks", "blocks.0", "blocks.1"]])
    ['', 'stem', 'blocks']
    """
    every = set.union(*map(set, models))
    uneven = [
        path.rpartition(".")[0] for path in every if not all(path in paths for paths in models)
    ]
    return [
        path
        for path in models[0]
        if path in set.intersection(*map(set, models))
        and not any(path != at and path.startswith(f"{at}." if at else "") for at in uneven)
    ]


@torch.no_grad()
def activations(
    model: nn.Module, x: Tensor, forward: Forward, paths: Collection[str]
) -> dict[str, Tensor]:
    """The outputs of modules in evaluation mode, flattened, those of several calls behind another.

    Each tensor is there once, under the innermost module that gives it; that of the whole model
    goes by the name `OUTPUT`. Of a tuple the first tensor counts; a module that gives no tensor is
    left out. The model is left in the mode it was in.
    """
    given: dict[str, list[Tensor]] = {}
    # The objects seen are kept with their copies: a tensor that is gone may lend its id to another.
    owners: dict[int, tuple[str, Tensor]] = {}

    def keep(path: str, output: object) -> None:
        value = output[0] if isinstance(output, tuple) and output else output
        if isinstance(value, Tensor) and id(value) not in owners:
            owners[id(value)] = (path, value)
            given.setdefault(path, []).append(value.detach().clone().flatten())

    modes = [(module, module.training) for module in model.modules()]
    hooks = [
        model.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, path=path: keep(path, output)
        )
        for path in paths
    ]
    try:
        model.eval()
        result = forward(model, x)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    owner = owners[id(result)][0] if id(result) in owners else None
    found = {path: torch.cat(values) for path, values in given.items() if path != owner}
    found[OUTPUT] = result.detach().clone().flatten()
    return found
