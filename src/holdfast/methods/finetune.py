"""Plain training on each task in turn."""

from holdfast.methods.method import Method


class Finetune(Method):
    """Train on the current task alone, with nothing that protects earlier ones.

    The lower reference of continual learning: what it forgets is what a method has to save.
    """
