"""What Go's runtime does for goroutines, done here for threads: the run queue, and the process's settings."""
