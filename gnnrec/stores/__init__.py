"""Vector stores: exports and deltas are loaded into them, and their own ranking is the model's."""
