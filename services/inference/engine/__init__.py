"""The engine: one process that holds base models and denoises a batch of rows, each with a stack of its own.

Nothing here knows gRPC, the registry or the artifact store.
"""
