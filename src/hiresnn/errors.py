"""Errors that a user can fix: the command line prints their message alone and exits with `exit_code`."""

import difflib
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires

LONGEST_VALUE = 80  # characters of a user's text in a message


class HiresnnError(Exception):
    """Base of every error that hiresnn raises on purpose; the message says what is wrong, where, and how to fix it."""

    exit_code = 1


class UsageError(HiresnnError):
    """The request itself is wrong: an option, a name, a value. Exit code 2."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key, a wrong type or a value out of range."""


class DataError(HiresnnError):
    """A data set is missing, truncated or not what it should be."""


class RunError(HiresnnError):
    """A run folder or checkpoint is missing, damaged, in use, or belongs to something else."""


class LostProcessError(HiresnnError):
    """Another of the processes that train together has ended. Every remaining one prints this."""


class NotFiniteError(HiresnnError):
    """The loss became NaN or infinite; the last good state is on disk."""


class AttackError(HiresnnError):
    """An attack returned images outside its bound or outside [0, 1]."""


def quoted(value: object, limit: int = LONGEST_VALUE) -> str:
    """Return the repr of a value for an error message, shortened to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def in_a_line(error: BaseException) -> str:
    """Return an exception of other code as one line: its type and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextmanager
def user_code(
    what: str, remedy: str = " (--debug shows where)", *, error: type[HiresnnError] = UsageError
) -> Iterator[None]:
    """Run a user's code in the block: any exception, and an attempt to end the program, becomes `error`.

    Errors of hiresnn itself pass through. The message is `WHAT failed: TypeError: ...REMEDY`.
    """
    try:
        yield
    except HiresnnError:
        raise
    except (Exception, SystemExit) as failure:
        verb = "ended the program" if isinstance(failure, SystemExit) else "failed"
        raise error(f"{what} {verb}: {in_a_line(failure)}{remedy}") from failure


def command_line(*words: object) -> str:
    """Return a command of hiresnn as a shell reads it, for a user to copy."""
    return shlex.join(["hiresnn", *map(str, words)])


def packages_of(extra: str) -> list[str]:
    """Return the packages of an extra of hiresnn with their versions, such as "nir<2,>=1.0.6"; [] if it has none."""
    try:
        requirements = [re.split(r" *; *", requirement, maxsplit=1) for requirement in requires("hiresnn") or []]
    except PackageNotFoundError:  # the source is used without having been installed
        return []
    marker = re.compile(rf"extra *== *['\"]{extra}['\"]")
    return [package for package, *markers in requirements if markers and marker.search(markers[0])]


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, wherever hiresnn itself came from."""
    return shlex.join(["pip", "install", *(packages_of(extra) or [f".[{extra}]"])])


def closest(word: object, known: Iterable[str]) -> str:
    """Return `did you mean "pgd"? choose one of fgsm, pgd` for a misspelled name."""
    names = list(dict.fromkeys(known))
    return f"{suggestion(word, names)}choose one of {', '.join(names)}"


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return `did you mean "x"? ` if a known name resembles `word`, else nothing."""
    near = difflib.get_close_matches(str(word)[:LONGEST_VALUE], list(known), n=1)
    return f'did you mean "{near[0]}"? ' if near else ""
