"""Programs built on the product: the demo, and the two examples on real data."""
