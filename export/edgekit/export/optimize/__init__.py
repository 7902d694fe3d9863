"""The search for the best precision of each layer of one file, measured under a budget of time."""
