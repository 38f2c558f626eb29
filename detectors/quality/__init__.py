"""Quality: the plumbing between the model service and its log. Volume, silence, columns, schema, duplicates, latency.

``detector.py`` holds the evidence of all of them under one budget; each other file is one thing watched (``watch.py``
says what that is), save ``profile.py``, the expected volume by hour, and ``hashing.py``.
"""
