"""Connections over HTTP, through the proxy that the environment names, and what went wrong with one."""

import urllib.parse
import urllib.request

import urllib3

from misfired._core import __version__

USER_AGENT = f"misfired/{__version__}"


def connections(url: str, n_kept: int = 1) -> urllib3.PoolManager:
    """Return connections to a server; `n_kept` stay open between requests."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager(maxsize=n_kept)
    known = urllib.parse.urlsplit(proxy)
    user = urllib.parse.unquote(f"{known.username}:{known.password or ''}")
    headers = urllib3.make_headers(proxy_basic_auth=user) if known.username else None
    return urllib3.ProxyManager(proxy, maxsize=n_kept, proxy_headers=headers)


def cause_of(error: BaseException) -> str:
    """Return the system's own words for an error, without urllib3's object addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__ if not str(error) else str(error)
