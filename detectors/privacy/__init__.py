"""Privacy: clients that try to find out which records a model was trained on; hashes only, no raw data."""
