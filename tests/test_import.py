"""What `import holdfast` gives, and what it does without."""

import subprocess
import sys

import pytest

import holdfast

HEAVY = (
    "datasets", "jsonargparse", "matplotlib", "pandas", "pyarrow", "rich", "scipy", "sklearn",
    "transformers",
)  # fmt: skip


def modules_after(code: str) -> set[str]:
    """Packages that a fresh interpreter has loaded when it has run some code."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    loaded = modules_after("import holdfast, holdfast.streams, holdfast.nets, holdfast.methods")
    assert {"holdfast", "torch"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_running_a_configuration_loads_no_figures_or_tables() -> None:
    loaded = modules_after("import holdfast.config, holdfast.cli.running")
    assert loaded.isdisjoint({"datasets", "matplotlib", "pandas", "pyarrow", "sklearn"})


def test_every_public_name_is_there() -> None:
    assert holdfast.__all__ == sorted(holdfast.__all__)
    for name in holdfast.__all__:
        assert getattr(holdfast, name).__doc__, name
    assert set(holdfast.__all__) <= set(dir(holdfast))


@pytest.mark.parametrize("name", ["Studdy", "__wrapped__"])
def test_names_that_are_not_there_are_missing_as_of_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match="module 'holdfast' has no attribute"):
        getattr(holdfast, name)
