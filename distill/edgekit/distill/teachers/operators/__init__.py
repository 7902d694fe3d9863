"""Classical image edits as batched tensor functions; `table.py` lists them all."""
