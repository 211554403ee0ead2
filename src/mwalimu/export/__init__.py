"""A trained student in the formats of the edge: made, packed, measured again."""
