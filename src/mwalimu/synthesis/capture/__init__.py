"""What the teacher says of its own answers, token by token: captured once, read in every epoch."""
