"""The pure centre: deterministic functions over canonical changes. No I/O, no clock, no randomness."""
