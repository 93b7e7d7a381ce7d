"""Words and options as Kafka's tools read them: the shell's quoting, then joptsimple's grammar and its error texts.

joptsimple accepts ``--name value`` and ``--name=value``, and one dash as well as two; Kafka's tools switch its abbreviations off. An option
that wants a value takes the next word, whatever it looks like. Each tool has its own manner of reporting what is wrong (``OptionError``).
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


class OptionError(UsageError):
    """What joptsimple throws. ``late``: only when the value is read, and so after the tool has checked which options go together. As it
    stands it prints itself as the JVM's tools do that catch everything: the text, then the exception."""

    def __init__(self, kind: str, text: str, *, late: bool = False) -> None:
        self.thrown = f"joptsimple.{kind}: {text}"
        self.text = text
        self.late = late
        super().__init__(text, self.thrown)


class Option(msgspec.Struct, frozen=True):
    """``kind``: "flag", "text", "int", "long" or "optional" (a text that may be missing); ``many`` may be repeated."""

    name: str
    kind: str = "text"
    help: str = ""
    many: bool = False


@dataclass(slots=True)
class Options:
    """What was given. ``words`` are the arguments that belong to no option; ``order`` names the options as they came."""

    values: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

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


def parse_options(words: list[str], known: tuple[Option, ...], *, abbreviations: bool = False) -> Options:
    """Raises OptionError with joptsimple's words; a wrong value is only found by ``check_values``."""
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
        option = _find(name, table, abbreviations=abbreviations)
        options.order.append(option.name)
        alone = option.kind == "optional" and not equals and (position >= len(words) or words[position].startswith("-"))
        if option.kind == "flag" or alone:
            options.values.setdefault(option.name, []).append("")
            continue
        if not equals:
            if position >= len(words):
                raise OptionError("OptionMissingRequiredArgumentException", f"Option {option.name} requires an argument")
            value = words[position]
            position += 1
        options.values.setdefault(option.name, []).append(value)
    return options


def check_values(options: Options, known: tuple[Option, ...]) -> None:
    """Raises OptionError (``late``) for a number that is none, or for a second value where one is asked for."""
    for option in known:
        given = options.all(option.name)
        if len(given) > 1 and not option.many and option.kind != "flag":
            text = f"Found multiple arguments for option {option.name}, but you asked for only one"
            raise OptionError("MultipleArgumentsForOptionException", text, late=True)
        for value in given:
            _check_value(option, value)


def _find(name: str, table: dict[str, Option], *, abbreviations: bool) -> Option:
    if name in table:
        return table[name]
    candidates = [known for known in table if name and known.startswith(name)] if abbreviations else []
    if len(candidates) == 1:
        return table[candidates[0]]
    raise OptionError("UnrecognizedOptionException", f"{name[:80]} is not a recognized option")


def _check_value(option: Option, value: str) -> None:
    if option.kind not in ("int", "long"):
        return
    bound = 2**31 if option.kind == "int" else 2**63
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and -bound <= int(value) < bound):
        text = f"Cannot parse argument '{value[:80]}' of option {option.name}"
        raise OptionError("OptionArgumentConversionException", text, late=True)


def require(options: Options, known: tuple[Option, ...], *names: str) -> None:
    """Kafka's ``CommandLineUtils.checkRequiredArgs``."""
    for name in names:
        if not options.has(name):
            raise UsageError(f'Missing required argument "[{name}]"', *usage(known))


def forbid(options: Options, known: tuple[Option, ...], used: str, *names: str) -> None:
    """Kafka's ``CommandLineUtils.checkInvalidArgs``."""
    for name in names:
        if options.has(used) and options.has(name):
            raise UsageError(f'Option "[{used}]" can\'t be used with option "[{name}]"', *usage(known))


def deprecated(options: Options, prefix: str, old: str, new: str) -> list[str]:
    """The warning of Kafka 4.2 and later where an old name is used."""
    if not options.has(old):
        return []
    return [f"{prefix} --{old} is deprecated and will be removed in a future version. Use --{new} instead."]


def usage(known: tuple[Option, ...]) -> list[str]:
    """The table that ``--help`` prints, and that follows most mistakes."""
    shapes = {"flag": "", "optional": " [String]", "text": " <String>", "int": " <Integer>", "long": " <Long>"}
    rows = [(f"--{option.name}{shapes[option.kind]}", option.help) for option in known]
    width = max(len(name) for name, _ in rows) + 2
    heading = [f"{'Option':<{width}}Description", f"{'------':<{width}}-----------"]
    return heading + [f"{name:<{width}}{text}".rstrip() for name, text in sorted(rows)]
