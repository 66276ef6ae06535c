import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "guides" / "dashboard.md"
#: Bytes. Pictures are in every clone and every download of the documentation.
MOST_EACH, MOST = 100_000, 1_500_000


def test_pictures_are_small_and_exist_in_both_themes() -> None:
    pictures = {path.stem: path.stat().st_size for path in (DOCS / "images" / "dashboard").iterdir()}
    assert max(pictures.values()) < MOST_EACH
    assert sum(pictures.values()) < MOST
    for theme, other in (("light", "dark"), ("dark", "light")):
        assert {name.removesuffix(theme) + other for name in pictures if name.endswith(theme)} <= pictures.keys()
    used = re.findall(r"images/dashboard/(\S+?)\.webp#only-(\w+)\)", PAGE.read_text("utf-8"))
    assert len(used) >= 10
    assert {name for name, theme in used if not name.endswith(theme) or name not in pictures} == set()
