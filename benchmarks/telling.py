"""How far a script that reproduces has come, line by line."""

from holdfast.studies.progress import Progress, StudyListener


def telling(every: int = 1) -> StudyListener:
    """Prints each run that failed, and after every so many where the study stands."""

    def tell(event: Progress) -> None:
        seed = "" if event.seed is None else f", seed {event.seed}"
        if event.event == "failed":
            print(f"  failed: {event.cell}{seed}: {event.error}", flush=True)
        if event.event in ("complete", "diverged") and event.ended % every == 0:
            left = f"{event.seconds_left / 60:.0f} min left"
            print(f"  {event.ended}/{event.total} {event.cell}{seed}, {left}", flush=True)

    return tell
