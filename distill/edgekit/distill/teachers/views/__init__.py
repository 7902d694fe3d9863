"""Teachers that draw a thing from words and a camera: world, renders, diffusion, guides."""
