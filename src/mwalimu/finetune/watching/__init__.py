"""What a training lets others see: metrics, trackers, speed, early warnings."""
