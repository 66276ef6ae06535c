"""Every `pip install` in docs and messages works from a checkout. Our packages are not on an index."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ops.commands import extras
from tests.support.environments import OURS, Environment, build_wheel, third_party

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
#: Packages in the docs that nothing here needs: plugins of fsspec.
OTHERS = frozenset({"s3fs", "gcsfs"})
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "client").glob("*.md")]
MODULES = [
    path
    for folder in ("ops", "schemas", "jobs", "worker", "webhook", "client/boomerang_client")
    for path in (ROOT / folder).rglob("*.py")
]
#: Ends with a code span, a string, a sentence, a comment or a line.
LINE = re.compile(r"\bpip install ([^`\"\n#;(]+?)(?=[`\"\n#;)]|[.,;:] |, | in a | and | or |\(|$)")


def install_lines(text: str) -> Iterator[str]:
    yield from (found.strip().rstrip(".") for found in LINE.findall(text))


def all_lines() -> dict[str, str]:
    """Return the arguments of `pip install`, each with one place where they occur."""
    return {
        line: str(path.relative_to(ROOT)) for path in (*PAGES, *MODULES) for line in install_lines(path.read_text())
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with a wheel of the client as docs/guides/command-line.md builds it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("schemas", "jobs", "worker", "webhook", "ops", "client"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    build_wheel(folder / "client", folder / "dist")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with all that our packages need, without our packages."""
    return Environment(tmp_path_factory.mktemp("environment") / "venv", third_party())


Attempt = Callable[[str], str]


@pytest.fixture
def attempt(checkout: Path, environment: Environment) -> Attempt:
    """`attempt(line)` returns pip's error for `pip install LINE`, or "" if all its requirements are available here."""
    return lambda line: attempted(line, checkout, environment)


def attempted(line: str, checkout: Path, environment: Environment) -> str:
    for word in shlex.split(line):
        try:
            name = canonicalize_name(Requirement(word).name)
        except InvalidRequirement:
            continue
        if name in OURS:
            return f"{name} is on no package index, or is another project's there"
        if name in OTHERS:
            return ""
    done = environment.pip("install", "--dry-run", *shlex.split(line), folder=checkout)
    problem = done.stderr if done.returncode or "does not provide the extra" in done.stderr + done.stdout else ""
    return problem.strip()


@pytest.mark.parametrize("line", sorted(all_lines()))
def test_the_line_installs(line: str, attempt: Attempt) -> None:
    assert attempt(line) == "", all_lines()[line]


def test_docs_and_messages_have_install_lines() -> None:
    places = set(all_lines().values())
    assert {each.partition("/")[0] for each in places} >= {"docs", "client", "ops"}
    assert {line.removeprefix("pip install ") for line in extras.INSTALL.values()} <= set(all_lines())


@pytest.mark.parametrize(
    "line",
    [
        "boomerang-client",
        "boomerang-jobs-client",
        "'boomerang_jobs[local]'",
        "'Boomerang-Jobs-Client[cli]>=0.1'",
        "./client '.[nothing-of-that-name]'",
        "'.[local]'",  # the client is missing, and is not on an index
        "boomerang-something",
        "./no-such-folder",
        "dist/boomerang_jobs_client-9.9.9-py3-none-any.whl",
    ],
)
def test_a_line_that_does_not_work_is_detected(line: str, attempt: Attempt) -> None:
    assert attempt(line)
