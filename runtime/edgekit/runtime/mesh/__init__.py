"""Prompts to files of meshes, without torch: planes, field, surface, budget, texture, GLB."""
