"""Delivery: owed notifications are claimed, sent and finished; one file per kind of destination."""
