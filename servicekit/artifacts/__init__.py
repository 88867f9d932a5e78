"""The artifact store: immutable, content-addressed bytes behind one port."""
