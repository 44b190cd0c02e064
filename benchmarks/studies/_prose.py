"""Numbers in the sentences of a page: filled in from stored rows, as tables are.

A claim is a piece of a page's text with `{}` where numbers stand. Pages stay plain text: a claim is
found by the words around its numbers, which therefore have to be on the page exactly once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?"
_VALUE = rf"{NUMBER}(?:\s\[{NUMBER},\s{NUMBER}\])?"
"""What stands for `{}`: a number, perhaps with its interval."""
_SKIPPED = (
    re.compile(r"^<!-- table: .*?^<!-- end -->$", re.M | re.S),
    re.compile(r"^```.*?^```$", re.M | re.S),
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\]\([^)\s]*\)"),  # where a link leads
    re.compile(r"95%\s(?:percentile\s)?(?:interval|bootstrap)"),
    re.compile(r"Python 3\.\d+"),
)
"""What has no results: tables of rows, which are filled, code, comments, addresses, and terms."""
_SHOWN = re.compile(
    rf"(?<![\w.,])(?:{NUMBER}%|[-+]?\d+\.\d+|(?!\d+(?:,\d{{3}})*,000\b)\d+(?:,\d{{3}})+)(?![\w]|\.\d)"
)
"""Numbers that may be results: with a decimal point, in percent, or thousands that are not round
(round ones are numbers of steps)."""


class Claim:
    """A piece of a page with numbers of stored rows.

    Attributes:
      text: as on the page, with `{}` for each number. A space is any white space.
      values: the texts of the numbers, in their order.
    """

    def __init__(self, text: str, *values: str) -> None:
        if text.count("{}") != len(values):
            raise ValueError(f"{text!r} has {text.count('{}')} places for {len(values)} numbers")
        self.text, self.values = text, values
        parts = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in text.split("{}")]
        self._pattern = re.compile(f"({_VALUE})".join(parts))

    def match(self, text: str) -> re.Match[str]:
        """Returns where a page's text has the claim, whatever its numbers are there.

        Raises:
          ValueError: it has it not at all, or more than once.
        """
        found = list(self._pattern.finditer(text))
        if len(found) != 1:
            raise ValueError(f"found {len(found)} times, and not once: {self.text!r}")
        return found[0]

    def filled(self, text: str) -> str:
        """Returns a page's text with the numbers of the claim made anew."""
        match = self.match(text)
        for i in range(len(self.values), 0, -1):
            new = self.values[i - 1]
            if match[i].count("\n") and new.count(" ") == match[i].count(" ") + 1:
                new = _broken(new, like=match[i])
            text = text[: match.start(i)] + new + text[match.end(i) :]
        return text


def stated(text: str, *, true: bool) -> Claim:
    """Returns a claim in words alone, which the rows bear out.

    Args:
      text: as on the page.
      true: whether they do.

    Raises:
      ValueError: they do not, so the page has to say something else.
    """
    if not true:
        raise ValueError(f"the stored rows no longer show it: {text!r}")
    return Claim(text)


def _broken(new: str, like: str) -> str:
    """A number and its interval with the line's end where the old text has it."""
    gaps = re.findall(r"\s", like)
    return "".join(map("".join, zip(new.split(), [*gaps, ""], strict=True)))


def filled(text: str, claims: Iterable[Claim]) -> str:
    """Returns the text of a page with the numbers of all claims made anew."""
    for claim in claims:
        text = claim.filled(text)
    return text


def unclaimed(text: str, claims: Sequence[Claim], others: Iterable[str]) -> Iterator[str]:
    """Yields what stands around each number of a page's prose that nothing accounts for.

    Args:
      text: of the page.
      claims: of the page.
      others: pieces of the page whose numbers are no results: settings, definitions, sizes, and
        what is quoted of others.

    Raises:
      ValueError: one of `others` is not on the page.
    """
    spans = [match.span() for skipped in _SKIPPED for match in skipped.finditer(text)]
    spans += [claim.match(text).span() for claim in claims]
    for other in others:
        pattern = r"\s+".join(map(re.escape, other.split()))
        found = [match.span() for match in re.finditer(pattern, text)]
        if not found:
            raise ValueError(f"the page has no {other!r}")
        spans += found
    for shown in _SHOWN.finditer(text):
        if not any(start <= shown.start() and shown.end() <= end for start, end in spans):
            yield " ".join(text[max(0, shown.start() - 60) : shown.end() + 20].split())
