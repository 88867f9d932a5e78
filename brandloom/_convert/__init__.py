"""Proto messages to the client's types and back. Pure; no other module sees both."""
