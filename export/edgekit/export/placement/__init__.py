"""Which unit of a phone runs which operator, by published tables, before any conversion."""
