"""The starts that mend a warm start, in whole runs."""

from typing import Any

import pytest
import torch

import holdfast
from holdfast import nets, streams
from holdfast.config import resolve, run_config
from holdfast.starts import CarryOn, ResetGroups, ShrinkPerturb, Start

CONFIGURED: dict[str, dict[str, Any]] = {
    "shrink_perturb": {"shrink": 0.4, "perturb": 0.1},
    "reset_groups": {"k": 2},
    "dash": {"floor": 0.2},
    "rewarm": {"factor": 5.0, "over": 0.3},
}
SMALL = {
    "stream": {"name": "growing", "dataset": "digits", "stages": 2, "sizes": [0.03, 0.06, 1.0]},
    "net": {"name": "mlp", "hidden": [6, 5]},
    "training": {"epochs": 1, "batch_size": 400, "lr": 0.05},
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_named_in_a_configuration(name: str) -> None:
    config = SMALL | {"start": {"name": name, **CONFIGURED[name]}}
    resolved = resolve(config)
    assert CONFIGURED[name].items() <= resolved["start"].items()
    one, two, plain = run_config(config), run_config(resolved), run_config(SMALL)
    assert one.status == "complete"
    assert one.accuracy.tolist() == two.accuracy.tolist()
    assert one.loss[0].tolist() == plain.loss[0].tolist()  # the first task begins as ever
    assert one.loss[2].tolist() != plain.loss[2].tolist()
    told = {"reset_groups": {"reset"}, "dash": {"chunks", "samples", "factor", "at_floor"}}
    expected = [told[name] | {"task", "step"}] * 2 if name in told else []
    assert [set(entry) for entry in one.starts] == expected


def test_rifle_in_a_configuration() -> None:
    config = SMALL | {"method": {"name": "rifle", "times": 1}}
    config["training"] = {**SMALL["training"], "epochs": 2}
    assert run_config(config).status == "complete"


@pytest.mark.parametrize(
    "start", [ResetGroups(k=3), ShrinkPerturb(0.0, 1.0), CarryOn()], ids=("reset", "sp", "carry")
)
def test_carried_momentum_of_what_began_anew_is_gone(start: Start) -> None:
    """With all weights begun anew a carried optimizer is as good as a new one."""
    stream = streams.split(holdfast.digits(), tasks=3)

    def after(reset: bool) -> torch.Tensor:
        net = nets.mlp(stream.input_shape, (6, 5))
        training = holdfast.Training(
            epochs=1, batch_size=64, optimizer="adam", lr=0.01, reset_optimizer=reset
        )
        holdfast.run(stream, net, training=training, start=start)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    same = torch.equal(after(True), after(False))
    assert same == (not isinstance(start, CarryOn))
