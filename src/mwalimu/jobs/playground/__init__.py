"""One question to a student and its teacher, side by side."""
