"""Why the activations of a wider net move otherwise, as far as can be told."""

from collections.abc import Collection
from typing import Literal, NamedTuple

from holdfast.richness.activations import OUTPUT
from holdfast.richness.setting import Setting

Kind = Literal["more", "less", "still", "diverged", "grows", "shrinks", "not zero"]

SAID: dict[Kind, str] = {
    "more": "moves more",
    "less": "moves less",
    "still": "does not move",
    "diverged": "diverges",
    "grows": "starts larger",
    "shrinks": "starts smaller",
    "not zero": "does not start as 0",
}
"""What a larger net does, for each kind of fault."""


_TOLD = 3
"""Problems that are told of."""


class Fault(NamedTuple):
    """A layer out of its band: what it does, with the slope and its standard error."""

    layer: str
    kind: Kind
    slope: float
    error: float


def cause(over: str, setting: Setting, faults: Collection[Fault], band: float) -> str:
    """The likely cause of faults and its remedy, in words."""
    kinds = {fault.kind for fault in faults}
    for said in (
        _of_steps(setting, faults),
        _of_rates(setting, kinds),
        _of_branches(over, setting, kinds),
        _of_problems(setting),
        _of_unlearning(setting, faults),
        _of_chance(over, setting, faults, band),
        _of_start(over, setting, kinds),
        _of_parametrization(over, setting),
    ):
        if said is not None:
            return said
    if "diverged" in kinds:
        return "The learning rate is too large for this net at any width: give a smaller lr."
    return (
        "Not known. Narrow nets are off by about 1 / width: leave out the narrowest; then try a "
        f"smaller lr, since near divergence nothing is free of the {over}."
    )


def _of_steps(setting: Setting, faults: Collection[Fault]) -> str | None:
    still = [fault.layer for fault in faults if fault.kind == "still"]
    if not still:
        return None
    if setting.steps == 1 and setting.readout == "zero" and OUTPUT not in still:
        return (
            "After one step from a readout of 0 the readout alone has moved: gradients of all "
            "other layers come through it and are 0. Give steps=3 or more."
        )
    return "No gradient reaches these layers, or their change is below what the dtype resolves."


def _of_rates(setting: Setting, kinds: set[Kind]) -> str | None:
    if setting.parametrization is None or not kinds & {"more", "less", "diverged"}:
        return None
    if setting.rule is None or setting.rule in setting.follows:
        return None
    wanted = f"param_groups(model, {setting.rule!r}, lr)"
    if setting.rule == "adam" and "sgd" in setting.follows:
        return (
            f"{setting.optimizer} was given the rates of SGD, lr gamma^2. Its steps do not shrink "
            f"with the gradient, so that they are too large in wide nets: use {wanted}."
        )
    if setting.rule == "sgd" and "adam" in setting.follows:
        return f"{setting.optimizer} was given the rates of Adam: use {wanted}."
    return (
        f"The rates in {setting.optimizer} are not those of this parametrization at every size "
        f"with one lr; were they made for a model of another width? Use {wanted} of each model."
    )


def _of_branches(over: str, setting: Setting, kinds: set[Kind]) -> str | None:
    unscaled = over == "depth" and set(setting.branches) == {1.0}
    if not unscaled or not kinds & {"more", "diverged", "grows"}:
        return None
    return (
        "Residual branches are not multiplied by 1 / sqrt(L): their sum grows with their number. "
        "Give depth_scaling=True, and name the branches of blocks that have no rule."
    )


def _of_problems(setting: Setting) -> str | None:
    if not setting.problems:
        return None
    more = len(setting.problems) - _TOLD
    others = [f"and {more} more"] if more > 0 else []
    return "\n".join(["Found before training:", *setting.problems[:_TOLD], *others])


def _of_unlearning(setting: Setting, faults: Collection[Fault]) -> str | None:
    alone = all(fault.layer == OUTPUT and fault.kind in ("less", "shrinks") for fault in faults)
    if not alone or setting.readout != "random" or setting.parametrization != "mup":
        return None
    return (
        "The readout is not 0 at the start (readout_std=1): training first undoes a random output "
        "of size width^(-1/2), and the output of a narrow net has the more to move. Nothing else "
        "is amiss: give readout_std=0, or wider nets."
    )


def _of_chance(over: str, setting: Setting, faults: Collection[Fault], band: float) -> str | None:
    slopes = all(fault.kind in ("more", "less", "grows", "shrinks") for fault in faults)
    if setting.parametrization != "mup" or not slopes:
        return None
    if not all(abs(fault.slope) - 2 * fault.error <= band for fault in faults):
        return None
    return (
        "Perhaps chance: the slopes are within two standard errors of the band, and narrow nets "
        f"vary much with the seed. Give more seeds, wider nets, or a wider range of {over}s."
    )


def _of_start(over: str, setting: Setting, kinds: set[Kind]) -> str | None:
    if not kinds & {"grows", "shrinks", "not zero"} or setting.parametrization is None:
        return None
    return (
        f"Activations depend on the {over} before any training: multipliers and raw weights do "
        "not go together, or something in the model beyond its layers depends on it."
    )


def _of_parametrization(over: str, setting: Setting) -> str | None:
    if over == "depth":
        return None
    if setting.parametrization is None:
        return (
            "The model is not parametrized: what torch draws, trained with one rate, moves by an "
            "amount that depends on the width. Call holdfast.richness.parametrize on it and take "
            "the optimizer's groups from param_groups."
        )
    if setting.parametrization == "sp":
        return (
            "In standard parametrization no single rate suits all widths: with it outputs move the "
            "more the wider the net, and the first layers the less. Give 'mup'."
        )
    if setting.parametrization == "ntp":
        return (
            "This is what the neural-tangent parametrization does: the wider the lazier, as muP "
            "at gamma_0 = sqrt(N_0 / N). Give 'mup' for a movement that is free of the width."
        )
    if len(set(setting.ratios)) == 1:
        return (
            f"muP takes all models for {setting.ratios[0]:.4g} times the base width, so that it is "
            "the neural-tangent parametrization: give one base_width for all, and no width of "
            "your own that stays as it is."
        )
    return None
