"""Open zip archives: a workbook is one, and one file in an archive is read without unpacking it."""

import tempfile
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from boomerang_client.errors import UsageError
from boomerang_client.file_kinds import ZIP
from boomerang_client.unpacking import peel_gzip

#: Maximum bytes of an archive that is copied to a temporary file, because it comes from stdin or from an archive.
MOST_BYTES = 1024**3
_CHUNK = 1024 * 1024
_WORKBOOK = "xl/workbook.xml"
_ENCRYPTED = 1
_OTHERS = (
    ("xl/workbook.bin", "a binary workbook (.xlsb)", "Save it as .xlsx."),
    ("word/document.xml", "a Word document", "Save its text as .txt (UTF-8), or its table as .xlsx."),
    ("ppt/presentation.xml", "a PowerPoint presentation", "Pass a file of requests."),
    ("content.xml", "an OpenDocument file", "Save it as .xlsx, or as .csv (UTF-8)."),
    ("Index/Document.iwa", "a Numbers, Pages or Keynote document", "Export it as .xlsx or .csv."),
    ("META-INF/MANIFEST.MF", "a Java archive", "Pass a file of requests."),
)


def open_archive(file: BinaryIO, name: str, *, nested: bool = False) -> tuple[BinaryIO, str, bool]:
    """Return a file in an archive, its name, and whether it is a workbook. `file` must be seekable.

    Raises UsageError for archives of several files, and for documents of other kinds.
    """
    try:
        archive = ZipFile(file)
    except (BadZipFile, OSError, ValueError) as error:
        raise UsageError(
            f"{name} is a damaged zip archive or workbook ({error}). Copy or download it again."
        ) from error
    paths = {each.filename for each in archive.infolist()}
    if _WORKBOOK in paths:
        return file, name, True
    for path, what, remedy in _OTHERS:
        if path in paths:
            raise UsageError(f"{name} is {what}. {remedy}")
    members = [each for each in archive.infolist() if _is_content(each)]
    if len(members) != 1:
        raise UsageError(f"{name} is a zip archive of {len(members):,} files. Unpack it, and pass one of them.")
    [member] = members
    if member.flag_bits & _ENCRYPTED:
        raise UsageError(f"{name} is a zip archive with a password. Unpack it, and pass the file in it.")
    try:
        content = archive.open(member)
    except (BadZipFile, NotImplementedError, OSError) as error:
        raise UsageError(f"{member.filename} in {name} cannot be unpacked ({error}). Unpack it yourself.") from error
    text, head = peel_gzip(content, f"{member.filename} in {name}")  # type: ignore[arg-type]
    if not head.startswith(ZIP):
        return text, member.filename, False
    if nested:
        raise UsageError(f"{name} is an archive in an archive in an archive. Unpack it.")
    return open_archive(spooled(text, member.filename), member.filename, nested=True)


def spooled(file: BinaryIO, name: str) -> BinaryIO:
    """Copy a stream to a temporary file, which is seekable and has no name. Raises UsageError when it is too large."""
    copy = tempfile.TemporaryFile(prefix="boomerang-")  # noqa: SIM115 -- it lives as long as the command
    while data := file.read(_CHUNK):
        if copy.tell() > MOST_BYTES:
            raise UsageError(f"{name} is an archive of more than {MOST_BYTES:,} bytes. Unpack it first.")
        copy.write(data)
    copy.seek(0)
    return copy


def _is_content(member: ZipInfo) -> bool:
    """Return whether a member is more than a folder or what macOS and Windows add."""
    parts = member.filename.split("/")
    return not member.is_dir() and parts[0] != "__MACOSX" and not parts[-1].startswith(".") and parts[-1] != "Thumbs.db"
