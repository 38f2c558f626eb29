"""Evasion: clients who feel their way along the model's answers, to slip past it or to read out what it learned."""
