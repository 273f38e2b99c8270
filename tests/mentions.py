"""Texts, and the places in them where Ann is addressed: for the page and for `threadchat join`."""

ADDRESSED = [
    ("@Ann hello, @ann!", ["@Ann", "@ann"]),
    ("Ann: hello", ["Ann"]),
    ("hello\nAnn, are you there?", ["Ann"]),
    ("@Anna and @Ann2 and joann@example.org", []),
    ("Ann is not addressed here", []),
    ("nor is Ann in https://ann.example/ann", []),
]
