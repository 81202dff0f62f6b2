"""Holdfast: continual learning by where a network starts and how far it moves."""
