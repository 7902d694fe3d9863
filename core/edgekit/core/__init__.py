"""Seams, errors, images and files: what every part of edgekit shares, without torch."""
