"""Abuse: clients that waste the model's time, run up its cost, or feel for its edges."""
