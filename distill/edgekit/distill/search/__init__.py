"""The search for the ranks of an adapter: which groups of layers deserve how many factors."""
