"""Which of the teacher's accepted answers are worth learning (stage curate)."""
