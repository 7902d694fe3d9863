"""Latency where a model will run: this machine, a phone, a board, a browser."""
