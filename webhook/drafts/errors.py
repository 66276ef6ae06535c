"""Files and choices that cannot become a batch."""


class FileRefused(ValueError):
    """A file or a choice of its reader cannot be used. The message says why, and what to do."""
