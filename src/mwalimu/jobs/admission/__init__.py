"""From what a stranger asks to what a job is to do, or why not."""
