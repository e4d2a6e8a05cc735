"""Training: options -> parts, epochs, what resumes, and the log of a run."""
