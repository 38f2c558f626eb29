"""Alerting: readings become transitions of incidents. Pure."""
