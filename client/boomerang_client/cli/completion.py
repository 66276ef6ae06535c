"""`boomerang completion`: what a shell needs to complete the command's words."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash  echo 'eval "$(boomerang completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(boomerang completion zsh)"' >> ~/.zshrc
    fish  boomerang completion fish > ~/.config/fish/completions/boomerang.fish
    """  # noqa: D301 -- click's mark for lines to keep is a backspace, written as \b
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    script = kind(ctx.find_root().command, {}, "boomerang", "_BOOMERANG_COMPLETE")
    # Not source(): for bash that starts one to ask for its version.
    click.echo(script.source_template % script.source_vars())
