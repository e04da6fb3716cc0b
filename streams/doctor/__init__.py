"""`tieout doctor`: looks at everything that a pipeline hangs on, all at once, and says how to mend what is ill."""
