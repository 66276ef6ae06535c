import pytest
from click.testing import CliRunner

from ops.commands.simulate import find
from ops.simulator.main import simulate


def test_it_is_the_simulators_own_command() -> None:
    assert find() is simulate


@pytest.mark.parametrize("words", [[], ["--port", "8421"], ["--storm", "more"], ["-x"]])
def test_without_the_simulator_one_sentence_says_where_it_is(words: list[str]) -> None:
    result = CliRunner().invoke(find("a_package_that_is_not_there"), words)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "--profile simulator" in result.output


def test_help_works_without_it() -> None:
    assert CliRunner().invoke(find("a_package_that_is_not_there"), ["--help"]).exit_code == 0
