"""Pairs: photos and what a teacher made of them, scored, split and kept in WebDataset shards."""
