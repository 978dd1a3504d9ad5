"""Checks the book and the README: every page is in the summary, every link and picture leads somewhere.

mdBook builds the pages and says nothing about a dead link.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOOK = ROOT / "docs" / "src"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def text(page):
    """The page without its code."""
    return CODE.sub(lambda code: code[0].strip("`"), FENCE.sub("", page.read_text("utf-8")))


def anchors(page):
    """The ids of the page's headings, as mdBook and GitHub make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", text(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return found


def links(page):
    """What the page points to inside the repository."""
    for markdown, html in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        target = markdown or html
        if not re.match(r"[a-z]+:", target):
            yield target


def main():
    summary = BOOK / "SUMMARY.md"
    listed = {(BOOK / target).resolve() for target in links(summary)}
    pages = {page.resolve() for page in BOOK.rglob("*.md")} - {summary.resolve()}
    wrong = [f"{page.relative_to(ROOT)}: not in SUMMARY.md" for page in sorted(pages - listed)]
    checked = 0
    for page in [ROOT / "README.md", summary, *sorted(pages)]:
        for target in links(page):
            checked += 1
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target} is not there")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                wrong.append(f"{page.relative_to(ROOT)}: {target} has no such heading")
    if not pages:
        wrong.append("docs/src: no page")
    print("\n".join(wrong) or f"book: {len(pages)} pages, {checked} links, all lead somewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
