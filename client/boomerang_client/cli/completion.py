"""`boomerang completion`: print what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from boomerang_client.cli.options import examples
from boomerang_client.cli.plain_output import echo

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=examples("boomerang completion bash", 'eval "$(boomerang completion bash)"'))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    To install it:
    bash  echo 'eval "$(boomerang completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(boomerang completion zsh)"' >> ~/.zshrc
    fish  boomerang completion fish > ~/.config/fish/completions/boomerang.fish
    """  # noqa: D301 -- click keeps the lines of a block that begins with a backspace, written as \b
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}. Choose from {', '.join(SHELLS)}.")
    script = kind(ctx.find_root().command, {}, "boomerang", "_BOOMERANG_COMPLETE")
    # Not source(): for bash it starts one to ask for its version.
    echo(script.source_template % script.source_vars())
