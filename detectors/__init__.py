"""Pure detection library: columns in, readings out. No I/O, no clock, no threads, no logging."""
