"""Networks that ship, and the ones that only help to train them."""
