"""The teacher as training sees it: a cache of what it said, or the model itself."""
