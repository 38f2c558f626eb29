"""Decoders: bytes of a record into event batches, one file per wire format."""
