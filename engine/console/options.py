"""Words and options as Kafka's tools read them: the shell's quoting, then joptsimple's grammar and its error texts.

joptsimple accepts ``--name value`` and ``--name=value``, unique abbreviations, and one dash as well as two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class UsageError(Exception):
    """What a tool prints before it gives up, and its exit status."""

    def __init__(self, *lines: str, status: int = 1) -> None:
        super().__init__(*lines)
        self.lines = list(lines)
        self.status = status


class Option(msgspec.Struct, frozen=True):
    """``kind``: "flag", "text", "int" or "long"; ``many`` may be repeated."""

    name: str
    kind: str = "text"
    help: str = ""
    many: bool = False


@dataclass(slots=True)
class Options:
    """What was given. ``words`` are the arguments that belong to no option."""

    values: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        found = self.values.get(name)
        return found[-1] if found else default

    def number(self, name: str, default: int = -1) -> int:
        found = self.values.get(name)
        return int(found[-1]) if found else default

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def properties(self, *names: str) -> dict[str, str]:
        """``key=value`` arguments; a key without "=" has an empty value, as in Kafka's ``parseKeyValueArgs``."""
        found: dict[str, str] = {}
        for name in names:
            for item in self.all(name):
                key, _, value = item.partition("=")
                found[key] = value
        return found


def split_words(line: str) -> list[str]:
    """The shell's words: quotes, backslashes, and ``$'…'`` with escapes. Raises UsageError for an unfinished quote."""
    words: list[str] = []
    word: list[str] | None = None
    position, end = 0, len(line)
    while position < end:
        character = line[position]
        if character.isspace():
            if word is not None:
                words.append("".join(word))
                word = None
            position += 1
            continue
        word = word if word is not None else []
        if character == "\\":
            word.append(line[position + 1 : position + 2])
            position += 2
        elif character in "'\"" or line.startswith("$'", position):
            ansi = character == "$"
            begin = position + 1 + ansi
            piece, position = _quoted(line, begin, "'" if ansi else character, escapes=ansi or character == '"', ansi=ansi)
            word.append(piece)
        else:
            word.append(character)
            position += 1
    if word is not None:
        words.append("".join(word))
    return words


_ANSI = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "\\": "\\", "'": "'", '"': '"'}


def _quoted(line: str, position: int, quote: str, *, escapes: bool, ansi: bool) -> tuple[str, int]:
    piece: list[str] = []
    while position < len(line):
        character = line[position]
        if character == quote:
            return "".join(piece), position + 1
        if escapes and character == "\\" and position + 1 < len(line):
            following = line[position + 1]
            if ansi:
                piece.append(_ANSI.get(following, "\\" + following))
            else:
                piece.append(following if following in '"\\$`' else "\\" + following)
            position += 2
            continue
        piece.append(character)
        position += 1
    raise UsageError(f"unexpected EOF while looking for matching `{quote}'", status=2)


def parse_options(words: list[str], known: tuple[Option, ...]) -> Options:
    """Raises UsageError with joptsimple's words."""
    options = Options()
    table = {option.name: option for option in known}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            options.words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        option = _find(name, table)
        if option.kind == "flag":
            options.values.setdefault(option.name, []).append("")
            continue
        if not equals:
            if position >= len(words) or (words[position].startswith("--") and words[position].lstrip("-") in table):
                raise UsageError(
                    'Exception in thread "main" joptsimple.OptionMissingRequiredArgumentException: '
                    f"Option {option.name} requires an argument"
                )
            value = words[position]
            position += 1
        _check_value(option, value)
        options.values.setdefault(option.name, []).append(value)
        if len(options.values[option.name]) > 1 and not option.many:
            raise UsageError(
                'Exception in thread "main" joptsimple.MultipleArgumentsForOptionException: Found multiple arguments for '
                f"option {option.name}, but you asked for only one"
            )
    return options


def _find(name: str, table: dict[str, Option]) -> Option:
    if name in table:
        return table[name]
    candidates = [known for known in table if name and known.startswith(name)]
    if len(candidates) == 1:
        return table[candidates[0]]
    raise UsageError(f'Exception in thread "main" joptsimple.UnrecognizedOptionException: {name[:80]} is not a recognized option')


def _check_value(option: Option, value: str) -> None:
    if option.kind not in ("int", "long"):
        return
    bound = 2**31 if option.kind == "int" else 2**63
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and -bound <= int(value) < bound):
        raise UsageError(
            'Exception in thread "main" joptsimple.OptionArgumentConversionException: '
            f"Cannot parse argument '{value[:80]}' of option {option.name}"
        )


def require(options: Options, *names: str) -> None:
    """Kafka's ``CommandLineUtils.checkRequiredArgs``."""
    for name in names:
        if not options.has(name):
            raise UsageError(f'Missing required argument "[{name}]"')


def forbid(options: Options, used: str, *names: str) -> None:
    """Kafka's ``CommandLineUtils.checkInvalidArgs``."""
    for name in names:
        if options.has(used) and options.has(name):
            raise UsageError(f'Option "[{used}]" can\'t be used with option "[{name}]"')


def usage(known: tuple[Option, ...]) -> list[str]:
    """The table that ``--help`` prints."""
    rows = [(f"--{option.name}" + {"flag": "", "text": " <String>", "int": " <Integer>", "long": " <Long>"}[option.kind], option.help)
            for option in known]  # fmt: skip
    width = max(len(name) for name, _ in rows) + 2
    heading = [f"{'Option':<{width}}Description", f"{'------':<{width}}-----------"]
    return heading + [f"{name:<{width}}{text}".rstrip() for name, text in sorted(rows)]
