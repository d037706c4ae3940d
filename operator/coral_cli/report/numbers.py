"""Numbers and lengths of time as a report writes them."""

from __future__ import annotations

NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: float) -> str:
    """Return a number with about three significant digits, without an exponent."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.2g}" if size >= 1e-4 else f"{value:.1e}"


def in_prose(value: float) -> str:
    """Return a number as ``number`` does, without zeros at its end."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def usd(value: float) -> str:
    """Return an amount of money, to the cent where it is small."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3f}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share in per cent; what is not all of it never reads as 100 %, nor as 0 %."""
    text = f"{100 * share:.{digits}f}"
    if 0 < share < 1 and text in (f"{100:.{digits}f}", f"{0:.{digits}f}"):
        text = f">{100 - 10**-digits:.{digits}f}" if share > 0.5 else f"<{10**-digits:g}"
    return f"{text}{NO_BREAK}%"


def milliseconds(seconds: float) -> str:
    """Return a latency in milliseconds."""
    value = 1000 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"
