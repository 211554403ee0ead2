"""The losses that an objective is made of, each over the student's one forward pass."""
