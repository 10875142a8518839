"""What a person reads in the terminal: tables on standard output, notes and progress on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from halfseen import types
from halfseen.ops.metrics import Recall
from halfseen.types import Scores

RANKS = (1, 3, 5, 10)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, ends: int = 0
) -> None:
    """A table whose first `words` and last `ends` columns are words and whose other columns are numbers."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
    numbers = range(words, len(columns) - ends)
    lines = ["  ".join(_padded(cell, widths[i], i in numbers) for i, cell in enumerate(row)) for row in cells]
    for line in ([title] if title else []) + [line.rstrip() for line in lines]:
        print_line(line)


def _padded(cell: str, width: int, number: bool) -> str:
    """As wide as `width` characters of a terminal, which gives two to each of Chinese, and none to some accents."""
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if number else cell + blanks


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s'[: count != 1]}"


def print_scores(title: str, scores: Mapping[str, Scores]) -> None:
    """One row a protocol, in per cent; the last column is the mean number of positives a query has."""
    columns = ("protocol", "mAP", "mINP", *(f"R{rank}" for rank in RANKS), "queries", "skipped", "pos.")
    print_table(title, columns, [score_row(name, score) for name, score in scores.items()])


def score_row(name: str, score: Scores) -> list[str]:
    """The cells of `print_scores`."""
    shares = (score.mAP, score.mINP, *(rank_share(score, rank) for rank in RANKS))
    counts = (f"{score.queries:,}", f"{score.skipped:,}", f"{score.positives / score.queries:.2f}")
    return [name, *(f"{100 * share:.1f}" for share in shares), *counts]


def plain_scores(scores: Mapping[str, Scores]) -> dict[str, dict[str, object]]:
    """The scores as fractions, ready for JSON."""
    return {
        name: {
            "mAP": score.mAP,
            "mINP": score.mINP,
            "rank": {str(rank): rank_share(score, rank) for rank in RANKS},
            "queries": score.queries,
            "skipped": score.skipped,
            "positives": score.positives,
        }
        for name, score in scores.items()
    }


def print_recall(recall: Mapping[str, Recall]) -> None:
    """One row a protocol, in per cent."""
    title = f"queries with right answers among the {next(iter(recall.values())).n:,} that are ordered again"
    rows = [[name, f"{100 * each.all:.1f}", f"{100 * each.any:.1f}"] for name, each in recall.items()]
    print_table(title, ("protocol", "all", "any"), rows)


def rank_share(score: Scores, rank: int) -> float:
    """The CMC at `rank`; behind its end it stays as it was."""
    return score.cmc[min(rank, len(score.cmc)) - 1]


def print_line(text: str) -> None:
    """One line of result."""
    _out().print(Text(text), soft_wrap=True)


def print_note(text: str) -> None:
    """One line beside the result."""
    _err().print(Text(text), soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[types.Progress]:
    """A bar with rate and remaining time on standard error, if that is a terminal; gone when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    console = _err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


class _Console(Console):
    """Rich would end the program by itself, with the exit code of `data check`'s faults."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  (called while the BrokenPipeError is handled)


def _out() -> Console:
    """Wide enough for every table: a line that the terminal wraps is better than a number cut short."""
    return _Console(width=max(160, Console().width))


def _err() -> Console:
    return _Console(stderr=True)
