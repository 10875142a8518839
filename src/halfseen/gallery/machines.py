"""The machines of a Ray cluster: how this process joins them, and what goes wrong there, in one sentence."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from halfseen.types import InputError

LOCAL = "local"  # the address of a cluster that is this machine alone, and ends with this process
ANSWER = 5.0  # seconds within which a cluster answers that is there


def ray() -> Any:
    """The package, which is an extra; it sends nothing to its makers, unless the environment says that it may."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415
        import ray.data  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"a cluster needs Ray ({error}); run `pip install 'halfseen[scale]'`") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


@contextmanager
def joined(address: str) -> Iterator[None]:
    """In here this process belongs to the cluster at `address`: `host:port`, `auto` for the one that runs on this
    machine, `local` for a new one of this machine alone, which nobody else can reach. Who belongs to one already stays.
    """
    if address == LOCAL:  # to Ray, Linux is a system of clusters; as on the others, let it listen at loopback only
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if ray().is_initialized():
        yield
        return
    if address == LOCAL and not ray().util.get_node_ip_address().startswith("127."):
        raise InputError(
            "Ray was imported before it was told to listen at loopback only; set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 "
            "in the environment, and begin again"
        )
    _check(address)
    alone: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        warnings.filterwarnings("ignore", "lance is not fork-safe")  # nor need it be: what Ray begins is not a copy
        ray().init(address=address, log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (OSError, RuntimeError, ValueError) as error:
        raise _absent(address, error) from error
    try:
        yield
    finally:
        ray().shutdown()


def _check(address: str) -> None:
    """Whether somebody listens at `host:port`: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _absent(address, error) from error


def _absent(address: str, error: Exception) -> InputError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(
        f"no Ray cluster can be joined at {address} ({said}); begin one with `ray start`, and give its host:port, or "
        f"`{LOCAL}` for this machine alone"
    )


@contextmanager
def told() -> Iterator[None]:
    """What a cluster says when it gives up, in one sentence; what was wrong with the input, as it is on one machine."""
    try:
        yield
    except InputError as error:
        cause = getattr(error, "cause", None)  # Ray has put the place where it happened around it
        raise error if cause is None else cause from None
    except ray().exceptions.GetTimeoutError as error:
        raise InputError(
            "the cluster has not answered in time: a machine is gone and no other has room for its part, or it is too "
            "busy; look at `ray status`, add machines, and do it again"
        ) from error
    except ray().exceptions.RayError as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise InputError(f"the cluster gave up ({said[:200]}); look at `ray status`, and do it again") from error
