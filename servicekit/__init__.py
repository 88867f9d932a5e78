"""What every Brandloom service shares; it knows no service and no torch."""
