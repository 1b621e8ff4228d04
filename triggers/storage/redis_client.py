"""Connections to Redis, chosen by URL: one server, a primary behind Sentinels, or a Cluster. Only this file opens one.

    redis://[user:password@]host:6379/0      one server; rediss:// with TLS, unix:///path for a socket
    redis+sentinel://[user:password@]host:26379,host:26379/service[/0]    rediss+sentinel:// with TLS
    redis+cluster://[user:password@]host:6379,host:6379                   rediss+cluster:// with TLS

Queries are those of redis-py, such as `?ssl_ca_certs=/run/secrets/ca.pem`, and `?password_file=/run/secrets/redis`: the
file holds the password, which the address then lacks. The client library retries nothing here: by default it repeats a
command whose answer was lost up to ten times, which would add twice to a count or to a history. Callers repeat
idempotent operations. Needs the extra `redis`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from triggers.errors import ConfigError, StoreUnavailable
from triggers.storage.secret_file import read_secret
from triggers.storage.url_utils import without_parameter, without_password

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.cluster import ClusterNode, RedisCluster
    from redis.retry import Retry
    from redis.sentinel import Sentinel
except ImportError as error:  # pragma: no cover - proven by a test in a process of its own
    raise ConfigError("A store or ledger in Redis needs the extra: pip install 'fairtrigger[redis]'.") from error

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
MAX_CONNECTIONS = 16
"""Per process and purpose (store, ledger), and per node of a cluster; a thread beyond them waits for its turn."""
KEEPALIVE_SECONDS = 15
"""Idle seconds after which a connection is tested with a PING before it is used."""
logger = logging.getLogger(__name__)


def connect_redis(url: str, seconds: float, *, text: bool = True) -> redis.Redis:
    """A client for a URL of SCHEMES; `seconds` bounds connecting, every answer, and the wait for a free connection.

    `text` decodes answers to str. Opens no connection yet, except for a cluster. Raises ConfigError, StoreUnavailable.
    """
    options: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "socket_keepalive": True,
        "health_check_interval": KEEPALIVE_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": text,
    }
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ConfigError(f"There is no {scheme}:// store or ledger; Redis is reached by {', '.join(SCHEMES)}.")
    kind = scheme.partition("+")[2]
    url, file = without_parameter(url, "password_file")
    if file is not None:
        options["password"] = read_secret(Path(file), f"password_file of {without_password(url)}")
    with translated():
        try:
            if kind == "cluster":
                return _cluster(url, options)
            if kind == "sentinel":
                return _sentinel(url, options)
            return _server(url, options | {"timeout": seconds})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"The address {without_password(url)} cannot be used: {error}.") from error


def _server(url: str, options: dict[str, Any]) -> redis.Redis:
    if urlsplit(url).scheme == "unix":
        options = {name: value for name, value in options.items() if name != "socket_keepalive"}  # it is TCP's
    pool = redis.BlockingConnectionPool.from_url(url, max_connections=MAX_CONNECTIONS, **options)
    return redis.Redis.from_pool(pool)


def _cluster(url: str, options: dict[str, Any]) -> redis.Redis:
    """Moved slots are followed; after a lost connection the next command asks for the nodes again."""
    nodes = [ClusterNode(host, port) for host, port in _hosts(url, 6379)]
    client: Any = RedisCluster(startup_nodes=nodes, max_connections=4 * MAX_CONNECTIONS, **(options | _access(url)))
    return cast(redis.Redis, client)  # it has the same commands


def _sentinel(url: str, options: dict[str, Any]) -> redis.Redis:
    """A client of the primary; after a failover the next connection goes to the new one."""
    service, _, number = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise ValueError("it names no service; write redis+sentinel://host:26379,host:26379/SERVICE")
    quick = {key: options[key] for key in ("socket_timeout", "socket_connect_timeout")}
    sentinel = Sentinel(_hosts(url, 26379), sentinel_kwargs=quick)
    chosen = options | _access(url) | {"db": int(number or 0), "max_connections": 4 * MAX_CONNECTIONS}
    client: redis.Redis = sentinel.master_for(unquote(service), **chosen)
    return client


def _hosts(url: str, default: int) -> list[tuple[str, int]]:
    found = []
    for each in urlsplit(url).netloc.rpartition("@")[2].split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(\d{1,5}))?", each)
        if not match:
            raise ValueError(f"{each!r} is no host:port")
        found.append((match[1].strip("[]"), int(match[2] or default)))
    return found


def _access(url: str) -> dict[str, Any]:
    """User, password, TLS and the query of a URL with several hosts, which redis-py does not read."""
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found: dict[str, Any] = dict(parse_qsl(parts.query))
    found |= {"username": unquote(user)} if user else {}
    found |= {"password": unquote(password)} if password else {}
    return found | ({"ssl": True} if parts.scheme.startswith("rediss") else {})


@contextmanager
def translated(what: str = "Redis") -> Iterator[None]:
    """Turn errors of the client into StoreUnavailable, whose message names `what`."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreUnavailable(f"{what} cannot be used: {error}.") from error


def check_server(client: redis.Redis, what: str) -> None:
    """Warn of servers that may drop or forget `what`: with an eviction policy, or without an append-only file."""
    with translated():
        memory, persistence = _by_node(client, "memory"), _by_node(client, "persistence")
    policies = {facts.get("maxmemory_policy", "noeviction") for facts in memory} - {"noeviction"}
    if policies:
        logger.warning(
            "Redis has maxmemory-policy %s and may drop %s silently: set noeviction.", *sorted(policies)[:1], what
        )
    if not all(int(facts.get("aof_enabled", 1)) for facts in persistence):
        logger.warning("Redis keeps no append-only file, so a restart may lose %s: set appendonly yes.", what)


def _by_node(client: redis.Redis, section: str) -> list[Mapping[str, Any]]:
    told: Any = client.info(section)
    nodes = [facts for facts in told.values() if isinstance(facts, Mapping)]
    return nodes or [told]
