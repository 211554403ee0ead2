"""Search over recipes: which objective, rates, sizes and data make the best student."""
