"""Extraction: clients whose queries look like the theft of the model."""
