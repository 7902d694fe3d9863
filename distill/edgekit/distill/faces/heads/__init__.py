"""People who do not exist: a morphable head with procedural skin, hair, light and background."""
