"""When the address of a result at the provider stops working, where the address itself says so."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

#: Presigned addresses name a time, or their begin and their life in seconds: S3 and its copies (AWS Signature Version
#: 4, and the older version 2, also of OSS and CloudFront), Google Cloud Storage.
_END = "expires"
_BEGIN_AND_LIFE = (("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"), ("x-oss-date", "x-oss-expires"))
_STAMP = "%Y%m%dT%H%M%SZ"
_NUMBER = re.compile(r"[0-9]{1,10}")
#: Another number of that name is no time.
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


def expiry_in(url: str) -> datetime | None:
    """Return when a presigned address stops working, or None if it does not say so."""
    if "xpires=" not in url and "XPIRES=" not in url:
        return None  # as almost always
    try:
        given = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        end = given.get(_END, "")
        if _NUMBER.fullmatch(end):
            moment = datetime.fromtimestamp(int(end), UTC)
            return moment if moment >= _EARLIEST else None
        for begin, life in _BEGIN_AND_LIFE:
            if begin in given and _NUMBER.fullmatch(given.get(life, "")):
                return datetime.strptime(given[begin], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=int(given[life]))
    except (ValueError, OverflowError):
        pass
    return None
