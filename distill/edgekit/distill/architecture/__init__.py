"""The size of the generator under a latency budget: dials, latency, short distillations, search."""
