"""The theory against networks on real data: ``python -m benchmarks.reproduce_theory [OUT] [SIZE]``.

Runs the shipped predictions in their size ``cpu`` (mnist must be there, see the docs on data),
trains networks at other similarities besides, tests each claim, and writes ``summary.md``,
``findings.json`` and figures. Interrupted, it goes on where it stopped.
"""

import sys
import time
from pathlib import Path

from benchmarks.telling import telling
from benchmarks.theory_claims import CLAIMS, WIDE
from benchmarks.verdicts import write_verdicts
from holdfast.cli.shipped import shipped
from holdfast.cli.theorizing import theory_figures
from holdfast.config import read_config
from holdfast.reports.save import save_figure
from holdfast.reports.theory import forgetting_figure
from holdfast.studies.theory import Predicted, Prediction, predict
from holdfast.studies.theory.asked import named_solver
from holdfast.theory import Comparison, compare

NAMES = ("gaussian", "mnist30", "digits", "deep")
GAMMA0, SEEDS = 0.4, 20
"""Of the networks at other similarities."""


def main(out: str = "out/theory", size: str = "cpu") -> int:
    """Run all predictions, test all claims, print and write what came of them."""
    folder, began = Path(out), time.monotonic()
    found: dict[str, Predicted] = {}
    for name in NAMES:
        start, cpu = time.monotonic(), time.process_time()
        prediction = Prediction.from_config(read_config(shipped("theory")[name].file(size)))
        found[name] = predict(prediction, folder / name, listener=telling(every=10))
        theory_figures(found[name], folder / name / "figures")
        print(
            f"{name}: {time.monotonic() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU",
            flush=True,
        )
    similar = _similar(found["mnist30"].prediction, folder / "similarity")
    verdicts = [verdict for claim in CLAIMS for verdict in claim(found, similar)]
    lines = []
    for name, predicted in found.items():
        lines += ["", f"## {name}", "", "```text", predicted.text(), "```"]
    predictions = {name: f"{name}/theory.json" for name in NAMES}
    write_verdicts(folder, "theory", verdicts, lines, size=size, predictions=predictions)
    print(f"{time.monotonic() - began:.0f} s in all, {time.process_time():.0f} s of CPU")
    return 0


def _similar(prediction: Prediction, folder: Path) -> dict[float, Comparison]:
    """Networks beside the theory at each similarity of the diagram."""
    assert prediction.phased is not None
    solver, options = named_solver(prediction.solver)
    found = {}
    for similarity in prediction.phased.similarity:
        place = folder / f"{similarity:g}"
        if not (place / "comparison.json").is_file():
            problem = prediction.problem(GAMMA0, similarity)
            compare(problem, (WIDE,), SEEDS, solver, **options).save(place)
        found[similarity] = Comparison.load(place)
    theory = {s: float(c.solution.forgetting[0]) for s, c in found.items()}
    trained = {s: {WIDE: c.forgetting()[WIDE][:, 0].numpy()} for s, c in found.items()}
    figure = forgetting_figure(theory, trained, f"similarity, at gamma0 {GAMMA0:g}", log_x=False)
    save_figure(figure, folder / "similarity")
    return found


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
