"""Core ML packages evaluated from their own bytes, on any system: proof of numbers, never speed."""
