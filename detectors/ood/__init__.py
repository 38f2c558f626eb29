"""Out-of-distribution: single events stranger than the reference, and the rate of such events."""
