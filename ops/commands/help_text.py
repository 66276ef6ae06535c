"""Parts of help texts that several commands share."""


def examples(*commands: str) -> str:
    r"""Return an epilog with one command per line. After a line with \b, click does not join the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])
