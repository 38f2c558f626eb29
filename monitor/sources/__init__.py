"""Sources: ordered logs of records, one file per kind of log."""
