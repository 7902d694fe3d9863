"""Faces: aligned portraits with landmarks, split by person, and batches that train on them."""
