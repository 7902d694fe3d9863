"""Prompts to meshes in one forward pass, learned from a picture model alone (after AToM)."""
