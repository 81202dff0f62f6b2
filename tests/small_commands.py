"""What commands are asked of, and what they say."""

from collections.abc import Callable

CONFIG = """
stream: {name: split, dataset: {name: digits, per_class: 10}, tasks: 2}
net: {name: mlp, hidden: [8]}
training: {epochs: 1}
"""

STUDY = f"""
name: small study
base: {{{", ".join(CONFIG.strip().splitlines())}}}
grid: {{training.lr: [1e-2, 0.1]}}
seeds: 2
workers: 1
"""

Said = Callable[..., tuple[int, str, str]]
"""Of a call: the exit code, what it printed, and what it printed to stderr."""
