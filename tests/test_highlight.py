"""Source code as HTML: what is coloured, and as what."""

from __future__ import annotations

import re

import pytest

from threadchat.web.highlight import highlighted

MARK = re.compile(r'<span class="(\w)">(.*?)</span>')


def marks(text: str, language: str) -> list[tuple[str, str]]:
    """The class and the HTML of each span."""
    return MARK.findall("\n".join(highlighted(text, language)))


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "def f(): return 7  # why", [("k", "def"), ("d", "f"), ("k", "return"), ("n", "7"), ("c", "# why")]),
        ("python", "class A: pass", [("k", "class"), ("d", "A"), ("k", "pass")]),
        (
            "python",
            "match x:\n    case 1:  # one\n        f()",
            [("k", "match"), ("k", "case"), ("n", "1"), ("c", "# one")],
        ),
        ("python", "match = case", []),
        ("python", "a = '<b>'", [("s", "&#x27;&lt;b&gt;&#x27;")]),
        (
            "python",
            "if a:\n    '''x\n    y'''",
            [("k", "if"), ("s", "&#x27;&#x27;&#x27;x"), ("s", "y&#x27;&#x27;&#x27;")],
        ),
        (
            "go",
            "func f() { return 7 } // why",
            [("k", "func"), ("d", "f"), ("k", "return"), ("n", "7"), ("c", "// why")],
        ),
        ("go", "func (h *hub) run() {", [("k", "func"), ("d", "run")]),
        ("go", "case a := <-b:", [("k", "case")]),
        ("go", 'x = "a // b"', [("s", "&quot;a // b&quot;")]),
        ("go", "x = `a`", [("s", "`a`")]),
    ],
)
def test_each_kind_of_token_has_its_class(language: str, text: str, expected: list[tuple[str, str]]) -> None:
    assert marks(text, language) == expected


@pytest.mark.parametrize("language", ["python", "go"])
def test_what_is_not_coloured_is_escaped_and_nothing_is_lost(language: str) -> None:
    text = 'a < b && c\n\n    d > "e"\n'
    lines = highlighted(text, language)
    assert lines[0] == "a &lt; b &amp;&amp; c"
    assert len(lines) == text.count("\n") + 1


def test_a_span_does_not_include_its_lines_indentation() -> None:
    assert highlighted('if a:\n    """b\n    c"""', "python")[2] == '    <span class="s">c&quot;&quot;&quot;</span>'
