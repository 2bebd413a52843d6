"""What a task is, without PyTorch: metrics, intervals, retention."""
