"""What a student is taught with: each objective yields a `Term`, added over micro-batches."""
