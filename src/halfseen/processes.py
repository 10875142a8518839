"""Work shared among processes that never outlive this one and never hear Ctrl-C: whoever began them ends them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, TypeVar

import torch

from halfseen.types import InputError

Task = TypeVar("Task")
Done = TypeVar("Done")

_begun: list[Callable[[], Any]] = []  # in a new process: how its work is begun
_at_work: list[Any] = []  # in a process: the function that was made of that, once the first task has come


class LostError(InputError):
    """A process is gone before its time, e.g. since whoever stopped this one told all processes of its group."""

    def __init__(self) -> None:
        super().__init__("a process ended before its work was done (it may have lacked memory); take fewer workers")


def shared_out(
    begin: Callable[[], Callable[[Task], Done]], tasks: Sequence[Task], workers: int
) -> Generator[Done, None, None]:
    """What `begin()`, called once in each process, makes of each of `tasks`, as soon as it is done, in any order.

    With one worker, or one task, all is done here. All that goes between processes must be something to pickle.
    """
    if min(workers, len(tasks)) < 2:
        if tasks:
            yield from map(begin(), tasks)
        return
    context = multiprocessing.get_context("spawn")
    end, line = context.Pipe(duplex=False)  # when we are gone, nobody holds the line, and that ends the processes
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _settle_in, (begin, end))
    try:
        with _deaf_to_ctrl_c():
            futures = [pool.submit(partial(_work, task)) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise LostError from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        line.close()
        end.close()


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes begun in here do not hear Ctrl-C, which a terminal tells all."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle_in(begin: Callable[[], Any], end: Connection) -> None:
    """In a new process: one thread to work, and one to notice that nobody waits for what is done any more."""
    torch.set_num_threads(1)
    _begun.append(begin)
    Thread(target=_end_with, args=(end,), daemon=True).start()


def _end_with(line: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.recv()
    os._exit(1)


def _work(task: Any) -> Any:
    if not _at_work:  # not while settling in, where an error would come back without its words
        _at_work.append(_begun[0]())
    return _at_work[0](task)
