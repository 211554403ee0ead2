"""What runs jobs: a supervisor that fills slots, workers that each do one job, what jobs do."""
