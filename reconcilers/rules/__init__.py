"""The catalogue's checks, one module per section."""
