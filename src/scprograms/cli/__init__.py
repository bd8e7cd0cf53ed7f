"""The command line: ``scprograms run`` on a screen, ``demo`` on a simulated one, ``modules`` on chromatin."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scprograms._core.files import FolderInUseError
from scprograms.pipeline import InputError, one_line

from ._parser import make_parser
from ._signals import INTERRUPTED, stoppable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

BAD_INPUT, FAILED = 2, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv
        Arguments; by default those that the process was started with.

    Returns
    -------
    0 where all was written; 2 for bad input or usage; 130 after Ctrl-C; 1 where something else failed. In all cases
    but the first the folder of an older run is as it was.

    Examples
    --------
    >>> from scprograms.cli import main
    >>> main(["run", "no_such_file.h5ad", "--groupby", "perturbation", "--control", "NT", "-o", "out"])
    2
    """
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:  # --help and --version, or bad usage; argparse has said what
        return int(end.code or 0)
    options.argv = list(sys.argv[1:] if argv is None else argv)
    logging.getLogger("scprograms").setLevel(logging.WARNING)
    try:
        with stoppable(), _bars(hidden=getattr(options, "quiet", False)):
            options.command(options)
    except KeyboardInterrupt:
        return _say("interrupted; nothing was written.", INTERRUPTED)
    except SystemExit as end:
        return _say("terminated; nothing was written.", int(end.code or 0))
    except (InputError, FolderInUseError) as error:
        return _fail(error, options.debug, BAD_INPUT)
    except MemoryError as error:
        return _fail(MemoryError(f"not enough memory ({error}); nothing was written."), options.debug, FAILED)
    except OSError as error:
        return _fail(OSError(f"could not read or write: {error}. What was there before is as it was."), options.debug)
    except Exception as error:  # noqa: BLE001  a traceback helps no biologist; --debug shows it
        message = f"{type(error).__name__}: {one_line(error)} Nothing was written. --debug shows where it happened."
        return _fail(RuntimeError(f"unexpected {message}"), options.debug)
    return 0


def _fail(error: BaseException, debug: bool, code: int = FAILED) -> int:  # noqa: FBT001
    if debug:
        traceback.print_exc()
    return _say(f"error: {one_line(error)}", code)


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"scprograms: {message}\n")
    return code


@contextmanager
def _bars(*, hidden: bool) -> Iterator[None]:
    """Hide the bars of fits, which know nothing of the command line."""
    before = os.environ.get("TQDM_DISABLE")
    if hidden:
        os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE", None)
        if before is not None:
            os.environ["TQDM_DISABLE"] = before
