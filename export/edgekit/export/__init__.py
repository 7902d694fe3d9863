"""From a saved program to verified files for every target."""
