"""The text forms of bounds, such as 8/255, and of attacks, gradient rules and views; their plug-ins (docs/plugins.md).

An attack is a call as in Python, `pgd(eps=8/255, rule=arctan(alpha=4))`. Values are numbers, fractions, True and False,
words (cross-entropy, with or without quotes), lists in brackets, and calls. The caller looks up the name and takes the
options from the signature of what it finds. Texts of version 0.2 are read, too:
`pgd:eps=8/255,rule=arctan/alpha=4`, `arctan/alpha=4/reset`, `int8-channel+leak=1`.
"""

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from typing import Any, Literal

from hiresnn.errors import UsageError, quoted, suggestion, user_code

Subject = Literal["attack", "rule", "view", "threat", "smoothing"]
EXAMPLES: dict[Subject, str] = {
    "attack": "pgd(eps=8/255, rule=arctan)",
    "rule": "arctan(alpha=4, reset=True)",
    "view": "int8(channel=True, leak=1)",
    "threat": "flips(direction=add)",
    "smoothing": "gaussian(sigma=0.25, n=1000)",
}
Kind = Literal["attacks", "rules"]


def parse_eps(value: Any, norm: str = "linf") -> float:
    """Read an attack bound such as "8/255", "0.03" or 8 / 255; UsageError unless it is a number in [0, 1].

    In L2 it may be any number of at least 0.
    """
    text = quoted(value)
    try:
        eps = read_number(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{text} is not a number; write one from 0 to 1, or a fraction such as 8/255.") from None
    if norm == "l2":
        if not 0 <= eps < math.inf:
            raise UsageError(f"{text} is no L2 bound; write a number of at least 0, such as 0.5.")
        return eps
    if eps > 1 and math.isfinite(eps):
        level = f"{eps:g}/255" if eps <= 255 and "/" not in str(value) else "8/255"
        raise UsageError(f"{text} is too large, because pixels lie in [0, 1]; did you mean {level}?")
    if not 0 <= eps <= 1:  # also true of NaN
        raise UsageError(f"{text} does not lie in [0, 1]; write a number such as 8/255.")
    return eps


def format_eps(eps: float) -> str:
    """Return the shorter of a decimal and a fraction of 255 that `parse_eps` reads back as exactly `eps`.

    >>> format_eps(8 / 255), format_eps(0.1 / 255), format_eps(0.03)
    ('8/255', '0.1/255', '0.03')
    """
    decimal, fraction = format_number(eps), f"{eps * 255:.6g}/255"
    return fraction if read_number(fraction) == eps and len(fraction) < len(decimal) else decimal


def read_number(text: str) -> float:
    """Read a decimal, which may be infinite, or a fraction of two; ValueError for other texts."""
    numerator, slash, denominator = text.partition("/")
    if slash and float(denominator) == 0:
        raise ValueError("division by zero")
    return float(numerator) / float(denominator if slash else 1)


def format_number(value: float) -> str:
    """Return the shortest text that `read_number` reads back as exactly `value`: 4, 0.5, 0.3333333333333333."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


@dataclass(frozen=True, order=True)
class Bound:
    """A radius of a robustness curve: `eps`, infinite if only [0, 1] limits, its text, and the norm that it bounds.

    In L-infinity, `eps` is from 0 to 1 and the text "8/255"; in L2 the text is "L2 0.5". The norm of 0 and of an
    infinite radius is L-infinity in every audit.
    """

    eps: float
    label: str
    norm: Literal["linf", "l2"] = "linf"

    @property
    def radius(self) -> float:
        """`eps` as an attack takes it; in L-infinity, a radius of 1 reaches every image in [0, 1]."""
        return self.eps if self.norm == "l2" else min(self.eps, 1.0)


CLEAN, UNBOUNDED = Bound(0.0, "0"), Bound(math.inf, "inf")
L2 = "L2 "
"""How the text of a bound in L2 begins."""


def parse_bound(value: str | float, norm: str = "linf") -> Bound:
    """Read "8/255", "0.03", 0.03 or "inf"; raises UsageError unless it is a number from 0 to 1 or "inf".

    With `norm` "l2", and in a text such as "L2 0.5", it is a bound in L2, of any size.

    >>> parse_bound("2/255") == parse_bound("2.0/255"), parse_bound("L2 0.5") == parse_bound(0.5, "l2")
    (True, True)
    """
    text = str(value).strip()
    if text.startswith(L2):
        value, norm = text.removeprefix(L2), "l2"
    try:
        return UNBOUNDED if text == "inf" else bound_at(parse_eps(value, norm), norm)
    except UsageError as error:
        raise UsageError(f"bound {error}") from None


def bound_at(eps: float, norm: str = "linf") -> Bound:
    """Return the bound of that radius, named in 255ths where it is a multiple of a quarter of one.

    In L2 it is named so only if this is shorter.
    """
    if not eps or (eps >= 1 and norm != "l2"):
        return UNBOUNDED if eps else CLEAN
    quarters, decimal = 4 * 255 * eps, f"{eps:.6g}"
    if round(quarters) and abs(quarters - round(quarters)) < 1e-6:
        exact, fraction = round(quarters) / 4 / 255, f"{round(quarters) / 4:g}/255"
        if norm != "l2":
            return Bound(exact, fraction)
        if len(fraction) < len(decimal):
            return Bound(exact, f"{L2}{fraction}", "l2")
    return Bound(eps, f"{L2}{decimal}", "l2") if norm == "l2" else Bound(eps, decimal)


@dataclass(frozen=True)
class Call:
    """A name with options: numbers, bools, texts, calls, or lists of them. `read_call` reads `str(call)` back."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={format_value(value)}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name

    def require(self, known: Iterable[str], where: str) -> None:
        """Raise UsageError for an option that is not among `known`; `where` begins the message, as in "rule 'rga'"."""
        names = list(known)
        for option in self.options:
            if option not in names:
                listed = f"it has {', '.join(names)}" if names else "it takes no option"
                hint = suggestion(option, names)
                raise UsageError(f"{where}: {self.name} has no option {quoted(option)}; {hint}{listed}.")


def read_call(text: str, subject: Subject) -> Call:
    """Read a text in the syntax of calls or in that of version 0.2; UsageError if it is in neither."""
    text = text.strip()
    if not re.search(r"[\w-]\(", text):
        text = _TRANSLATORS.get(subject, str)(text)
    if "(" not in text:
        return Call(text)
    problem = "is no call"
    if matched := re.match(r"(?:[^(]*:)?[\w-]+(?=\()", text):
        start = matched.end()  # the name may be FILE.py:FUNCTION, which Python does not parse
        try:
            call = _value(ast.parse("_" * start + text[start:], mode="eval").body)
            if isinstance(call, Call):
                return Call(matched[0], call.options)
        except SyntaxError as error:
            problem = f"cannot be read at column {error.offset}: {error.msg.partition(';')[0]}"
        except (ValueError, RecursionError, MemoryError):  # a NUL, or nesting without end
            problem = "cannot be read"
        except UsageError as error:
            raise UsageError(f"{subject} {quoted(text)}: {error}") from None
    raise UsageError(f"{subject} {quoted(text)} {problem}; write it like {EXAMPLES[subject]}.")


def typed(value: Any, default: bool | float, where: str) -> Any:
    """Return a value, or read its text, as the type of its default; UsageError at `where` for another type and NaN."""
    if isinstance(default, bool):
        switch = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(switch, bool):
            raise UsageError(f"{where} is {quoted(value)}; write True or False.")
        return switch
    whole = isinstance(default, int)
    number: Any = None if isinstance(value, bool) else value
    try:
        if isinstance(value, str):
            number = int(value) if whole else read_number(value)
        if isinstance(number, Integral if whole else Real) and number == number:  # also one of NumPy
            return int(number) if whole else float(number)  # type: ignore[call-overload]
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{where} is {quoted(value)}; write a {'whole number' if whole else 'number'}.")


def format_value(value: Any) -> str:
    """Return the text of an option's value in a call, such as `[8/255, dlr-targeted, '>=', True]`."""
    if isinstance(value, float):
        return format_eps(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, str) and not re.fullmatch(
        r"(?!(True|False|None)$)[A-Za-z_]\w*(-[A-Za-z_]\w*)*", value, re.ASCII
    ):
        return repr(value)
    return str(value)


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            return name
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _number(operand) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            if not (divisor := _number(right)):
                raise UsageError(f"{ast.unparse(node)} divides by zero.")
            return _number(left) / divisor
        case ast.BinOp(left=left, op=ast.Sub(), right=right):  # a hyphen in a name: straight-through(reset=True)
            first, second = _value(left), _value(right)
            if isinstance(first, str) and isinstance(second, str):
                return f"{first}-{second}"
            if isinstance(first, str) and isinstance(second, Call):
                return Call(f"{first}-{second.name}", second.options)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            options: dict[str, Any] = {}
            if arguments:
                raise UsageError(f"{ast.unparse(arguments[0])} has no name; write it as OPTION=VALUE.")
            for keyword in keywords:
                if keyword.arg is None or keyword.arg in options:
                    raise UsageError(f"option {keyword.arg or '**'} is given twice or has no name; name each once.")
                options[keyword.arg] = _value(keyword.value)
            return Call(name, options)
    raise UsageError(f"{quoted(ast.unparse(node))} is no number, fraction, word, list or call.")


def _number(node: ast.AST) -> float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{quoted(ast.unparse(node))} is not a number.")
    return value


def _old_attack(text: str) -> str:
    """Translate `pgd:eps=8/255,rule=arctan/alpha=4+bptr` into `pgd(eps=8/255, rule=[arctan(alpha=4), bptr])`."""
    matched = re.fullmatch(r"(.*):([^:]*=[^:]*)", text, re.DOTALL)  # the last colon: FILE.py:FUNCTION has one
    name, options = matched.groups() if matched else (text.rstrip(":"), "")
    pairs = []
    for pair in filter(None, options.split(",")):
        key, _, value = pair.partition("=")
        if key == "rule":
            rules = [_old_rule(rule) or "''" for rule in re.split(r"\+(?!\d)", value)]  # no + of a number, 1e+3
            value = f"[{', '.join(rules)}]"
        pairs.append(f"{key}={value or repr('')}")
    return f"{name}({', '.join(pairs)})" if pairs else name


def _old_rule(text: str) -> str:
    """Translate `arctan/alpha=4/reset` into `arctan(alpha=4, reset=True)`."""
    name, *options = re.split(r"/(?![\d.])", text)  # before a digit, the slash is that of a fraction
    pairs = [option if "=" in option else f"{option}=True" for option in options]
    return f"{name}({', '.join(pairs)})" if pairs else name


def _old_view(text: str) -> str:
    """Translate `int8-channel+leak=1` into `int8(channel=True, leak=1)`, and `leak=1` into `float(leak=1)`."""
    if not re.search(r"[=+]|-channel$|^shared-scale$", text):  # int8 is a call as it is
        return text
    name, options = "", []
    for part in text.split("+"):
        key, equals, value = part.partition("=")
        if not name and (bits := re.fullmatch(r"(int\d+)(-channel)?", part)):
            name = bits[1]
            options += ["channel=True"] * bool(bits[2])
        elif part == "shared-scale":
            options.append("shared=True")
        elif equals:
            options.append(f"{key}={value if re.fullmatch(r'[-./a-z0-9]+', value) else repr(value)}")
        else:
            options.append(part)
    name = name or ("int8" if "shared=True" in options else "float")
    return f"{name}({', '.join(options)})" if options else name


_TRANSLATORS: dict[Subject, Callable[[str], str]] = {"attack": _old_attack, "rule": _old_rule, "view": _old_view}
"""They go in version 0.4."""


def offered(kind: Kind) -> dict[str, EntryPoint]:
    """Return the plug-ins of a kind that are installed, by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=f"hiresnn.{kind}")}


def plugin(kind: Kind, name: str) -> Any | None:
    """Import and return the plug-in of that name, None if no package offers it; UsageError if the import fails."""
    entry = offered(kind).get(name)
    if entry is None:
        return None
    with user_code(f"importing the plug-in {name!r} ({entry.value})", "; update or remove the package that offers it."):
        return entry.load()
