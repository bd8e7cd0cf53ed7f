"""Which programs a caller means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scprograms._core.validate import listing


def select_programs(
    programs: str | Iterable[str] | None, available: Sequence[str], *, argument: str = "programs"
) -> list[str]:
    """Return the names asked for, in the order asked for; None means all, and unknown names are an error.

    ``argument`` is what the caller's argument is called.
    """
    if programs is None:
        return list(available)
    if not isinstance(programs, str) and not isinstance(programs, Iterable):
        msg = (
            f"{argument}={programs!r} is a {type(programs).__name__}; "
            f"pass names such as {listing(available, at_most=3)}."
        )
        raise TypeError(msg)
    wanted = [programs] if isinstance(programs, str) else list(programs)
    unknown = [name for name in wanted if name not in available]
    if unknown or not wanted:
        found = f"{listing(unknown)} not known" if unknown else "no name given"
        msg = f"{argument}: {found}. Choose from {listing(available)}."
        raise ValueError(msg)
    return list(dict.fromkeys(wanted))
