"""Demo apps, put together from a bundle and the sources that the project ships."""
