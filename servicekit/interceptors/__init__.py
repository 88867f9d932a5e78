"""What happens around every RPC of every service. `server_interceptors` puts them in their order."""

from __future__ import annotations

from servicekit.interceptors.chain import server_interceptors

__all__ = ["server_interceptors"]
