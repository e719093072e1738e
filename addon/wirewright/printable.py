"""Text of traffic and files on a terminal: it may neither steer the terminal nor be read as markup."""

import logging
import re
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str) -> str:
    r"""The text with each character that cannot be printed as an escape, such as `\n` or `\x1b`.

    These are control characters (C0, C1, DEL), formatting characters, which change the direction of a text
    or are invisible, line separators and characters that Unicode does not assign.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """The text with unprintable characters as escapes, except line feeds and tabs."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def shown_url(url: str) -> str:
    """A URL for a log or a `repr`, without its user, password and query: these may be secrets."""
    scheme, separator, rest = url.partition("://")
    authority, *path = re.split(r"(?=[/?#])", rest, maxsplit=1)
    before, mark, _ = "".join([authority.rpartition("@")[2], *path]).partition("?")
    return f"{scheme}{separator}{before}{mark and '?…'}"


def print_line(console: "Console", sentence: str, style: str = "") -> None:
    """Print a sentence as one line, without markup."""
    from rich.text import Text  # an import of the package does not need it

    console.print(Text(printable(sentence), style), highlight=False, soft_wrap=True)


class PrintableRecords(logging.Filter):
    """Makes log records printable: their values come from apps, servers and files.

    A traceback that has to be changed becomes a part of the message.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record if that is necessary."""
        try:
            message = record.getMessage()
        except Exception:  # its arguments do not fit, which the handler reports
            return True
        printed = printable_lines(message)
        if record.exc_info and record.exc_info[0]:
            raised = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (printed_raised := printable_lines(raised)) != raised:
                printed = f"{printed}\n{printed_raised}"
                record.exc_info = record.exc_text = None
        if printed != message:
            record.msg, record.args = printed, ()
        if record.stack_info:
            record.stack_info = printable_lines(record.stack_info)
        return True


def get_logger(name: str) -> logging.Logger:
    """The logger of a module of this package, whose lines are printable."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, PrintableRecords) for each in logger.filters):
        logger.addFilter(PrintableRecords())
    return logger
