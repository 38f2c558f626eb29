"""Drift: the distribution of inputs or outputs has moved away from the reference."""
