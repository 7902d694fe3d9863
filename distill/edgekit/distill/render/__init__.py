"""Triangles to pictures in torch, on any device, with gradients for vertices and attributes."""
