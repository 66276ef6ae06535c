import pytest
from click.testing import CliRunner

from ops.commands.simulate import find
from ops.simulator.main import simulate


def test_it_runs_the_simulators_command() -> None:
    assert find() is simulate


@pytest.mark.parametrize("args", [[], ["--port", "8421"], ["--storm", "more"], ["-x"]])
def test_without_the_simulator_the_error_says_where_to_get_it(args: list[str]) -> None:
    result = CliRunner().invoke(find("a_package_that_is_not_there"), args)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "--profile simulator" in result.output


def test_help_works_without_the_simulator() -> None:
    assert CliRunner().invoke(find("a_package_that_is_not_there"), ["--help"]).exit_code == 0
