"""Teachers, pairs and students: from a concept to a trained small network."""
