"""What the client takes and gives: frozen dataclasses and string enums, one module for each service."""
