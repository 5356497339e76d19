"""``clipbench completion SHELL``: a script that completes commands, their options, and the names of tables."""

from __future__ import annotations

import argparse

from clipbench.cli.parser import build_parser
from clipbench.registry import load_papers

_BASH = """\
_clipbench() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case $command in
{cases}
        esac
        case $word in -*) ;; *) words="$words {names}" ;; esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -F _clipbench clipbench
"""


def main(arguments: argparse.Namespace) -> int:
    """Print the script."""
    options = _options()
    names = _names()
    if arguments.shell == "fish":
        print("\n".join(_fish(options, names)))
        return 0
    cases = "\n".join(f'            {command}) words="{" ".join(words)}" ;;' for command, words in options.items())
    script = _BASH.format(commands=" ".join(options), cases=cases, names=" ".join(names))
    print(("autoload -U +X bashcompinit && bashcompinit\n" if arguments.shell == "zsh" else "") + script, end="")
    return 0


def _options() -> dict[str, list[str]]:
    """Every command with its long options."""
    parser = build_parser()
    commands = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {
        name: [o for action in command._actions for o in action.option_strings if o.startswith("--")]
        for name, command in dict(commands or {}).items()
    }


def _names() -> list[str]:
    """Ids and aliases of tables and figures, and ids of papers."""
    papers = load_papers()
    tables = [name for paper in papers for table in paper.tables.values() for name in (table.id, *table.aliases)]
    return [*(paper.id for paper in papers), *tables]


def _fish(options: dict[str, list[str]], names: list[str]) -> list[str]:
    lines = [f"complete -c clipbench -n __fish_use_subcommand -f -a '{' '.join(options)}'"]
    for command, words in options.items():
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        lines += [f"complete -c clipbench {seen} -l {word.removeprefix('--')}" for word in words]
    return [*lines, f"complete -c clipbench -n 'not __fish_use_subcommand' -a '{' '.join(names)}'"]
