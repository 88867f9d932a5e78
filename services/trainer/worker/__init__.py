"""The training worker: leases jobs, trains them as one pack, publishes what comes out of it.

The only part of the trainer that loads torch; it talks to the services over gRPC like everybody else.
"""
