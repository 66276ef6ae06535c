import pytest

from ops.tables import Row, lines, show


def test_nothing_is_cut_and_columns_are_aligned() -> None:
    long = "k" * 300
    assert lines(("id", "state"), [Row((long, "good")), Row(("short", "x" * 200), note="run: " + "y" * 200)]) == [
        f"id{' ' * 298}  state",
        f"{long}  good",
        f"short{' ' * 295}  {'x' * 200}",
        f"    run: {'y' * 200}",
    ]


def test_a_row_is_one_line_whatever_is_in_it() -> None:
    assert lines(("a", "b"), [Row(("one\ntwo", "three\n\nfour"))])[1:] == ["one two  three four"]


def test_an_empty_table_is_its_headers() -> None:
    assert lines(("a", "b"), []) == ["a  b"]


def test_a_row_with_a_cell_too_few_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="argument"):
        lines(("a", "b"), [Row(("one",))])


def test_what_is_piped_has_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    show(("a", "b"), [Row(("one", "two"))])
    assert capsys.readouterr().out == "a    b\none  two\n"
