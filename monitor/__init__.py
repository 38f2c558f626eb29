"""The service: reads inference logs, runs the detectors, keeps alerts, notifies."""
