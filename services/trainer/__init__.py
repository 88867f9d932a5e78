"""The trainer: training jobs, the leases of its workers, and the workers themselves."""
