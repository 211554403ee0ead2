"""One thin command per verb. Heavy imports stay inside the commands: --help answers at once."""
