"""Part of the shell."""
