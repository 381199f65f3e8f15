"""The command ``simulate`` refuses what it cannot simulate, in a sentence."""

import pytest
import typer
from typer.testing import CliRunner

from training import commands
from training.errors import RecipeError

app = typer.Typer()
app.command()(commands.simulate)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--budget", "slow"], "Budget 'slow' is none of quick, thorough."),
        (["--strategy", "best"], "Strategy 'best' is none of random, saving"),
        (["--labels", "50,20"], "ascending and above 0"),
    ],
)
def test_impossible_options_are_errors(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["--team", "nowhere.tar", *options])
    assert isinstance(result.exception, RecipeError)
    assert sentence in str(result.exception)


def test_numbers_of_labels_are_separated_by_commas() -> None:
    assert commands._numbers("20, 50") == (20, 50)
    with pytest.raises(typer.BadParameter, match=r"as in 20,50"):
        commands._numbers("20;50")
