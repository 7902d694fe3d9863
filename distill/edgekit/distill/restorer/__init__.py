"""The one-step restorer: a degraded portrait and a few good ones of the same person, one pass."""
