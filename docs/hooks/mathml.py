r"""Turn the formulas of the site into MathML when it is built.

Browsers draw MathML by themselves, so the pages need no script and no network. Angle brackets in
docstrings, <sigma sigma>_K, are expectations and not HTML: raw HTML is switched off.
"""

import html
import re
import unicodedata
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)

PRIMES = re.compile(r"('+)(?:\^(\{[^}]*\}|.))?")
STYLED = re.compile(r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>')


class NoRawHtml(Extension):
    """Show what looks like an HTML tag in a text as what it is."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Remove the parts of Markdown that pass HTML through."""
        md.preprocessors.deregister("html_block")
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    """Switch raw HTML off."""
    config.markdown_extensions.append(NoRawHtml())
    return config


def on_page_content(content: str, **_: Any) -> str:
    """Replace every formula of a page."""
    return FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    block = formula["tag"] == "div"
    tex = PRIMES.sub(_superscript, html.unescape(formula["tex"]))
    tex = re.sub(r"\\[bB]ig+(?=\\[{}])", "", tex)  # the converter has no large braces
    mathml = STYLED.sub(_letter, convert(tex, display="block" if block else "inline"))
    return f'<div class="formula">{mathml}</div>' if block else mathml


def _superscript(primes: re.Match[str]) -> str:
    """Join primes and a power into one superscript."""
    return "^{" + r"\prime " * len(primes[1]) + (primes[2] or "") + "}"


def _letter(styled: re.Match[str]) -> str:
    """Use the character itself where browsers ignore the style."""
    style = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT"}[styled[1]]
    for kind in (f"MATHEMATICAL {style}", style):
        try:
            return f"<mi>{unicodedata.lookup(f'{kind} CAPITAL {styled[2]}')}</mi>"
        except KeyError:
            continue
    return styled[0]
