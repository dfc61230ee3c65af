# SPDX-License-Identifier: Apache-2.0
"""A page of --report, looked at with Python's own parser and held against what Python computes of the same files.

page.py plain FILE.html                 well-formed, loads nothing, runs nothing, accessible
page.py apply FILE.html BASE DELTA      also: each cell has RMS delta / RMS base of two safetensors files
page.py stats FILE.html SOURCE          also: each cell has the RMS of a safetensors file's tensor
page.py verify FILE.html GOOD BAD WHAT  also: so many cells are intact, damaged and unchecked
Prints what is wrong and exits with 1.
"""
import html.parser
import json
import math
import re
import struct
import sys

VOID = {"meta", "link", "br", "hr", "img", "input"}
ALLOWED = set("html head meta link title style body header main footer section div h1 h2 h3 p strong span ul li table "
              "caption thead tbody tr th td code".split())
problems = []


def want(holds, what):
    if not holds:
        problems.append(what)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.cells, self.texts, self.rows = [], {}, [], []
        self.tags, self.cell, self.n_cells = {}, None, 0

    def handle_decl(self, decl):
        want(decl == "DOCTYPE html", f"another doctype: {decl}")

    def handle_starttag(self, tag, attributes):
        attrs = dict(attributes)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        want(tag in ALLOWED, f"a <{tag}> at {self.getpos()}")
        want(len(attrs) == len(attributes), f"an attribute twice at {self.getpos()}")
        for name, value in attrs.items():
            want(name in {"class", "title", "scope", "role", "tabindex", "aria-label", "lang", "charset", "name",
                          "content", "http-equiv", "rel", "href"}, f"attribute {name} at {self.getpos()}")
            want(name != "href" or value == "data:,", f"a link to {value}")
        want(tag != "th" or attrs.get("scope") in {"col", "row"}, f"<th> without scope at {self.getpos()}")
        want(tag != "html" or attrs.get("lang") == "en", "no language")
        if attrs.get("role") == "region":
            want(attrs.get("aria-label") and attrs.get("tabindex") == "0", "a region that has no name or no focus")
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
        if tag == "td" and "t" in attrs.get("class", "").split():
            self.n_cells += 1
            self.cell = [attrs["class"].split()[1], attrs["title"], ""]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        want(self.open and self.open[-1] == tag, f"</{tag}> at {self.getpos()}, open: {self.open[-3:]}")
        if self.open:
            self.open.pop()
        if tag == "td" and self.cell:
            name, detail = self.cell[1].rsplit(": ", 1) if "; " not in self.cell[1] else self.cell[1].split(": ", 1)
            want(name not in self.cells, f"two cells for {name}")
            want(self.cell[2] != "", f"an empty cell for {name}")
            self.cells[name] = (self.cell[0], detail, self.cell[2])
            self.cell = None

    def handle_data(self, data):
        self.texts.append(data)
        if self.cell:
            self.cell[2] += data
        if self.open and self.rows and self.open[-1] in {"td", "th", "code", "span"} and self.rows[-1]:
            self.rows[-1][-1] += data

    def handle_comment(self, data):
        want(data.strip() == "llavamed report", f"another comment: {data}")


def read_page(path):
    data = open(path, "rb").read()
    text = data.decode("utf-8")
    page = Page()
    page.feed(text)
    page.close()
    want(not page.open, f"not closed: {page.open}")
    want(text.startswith("<!DOCTYPE html>\n") and text.endswith("</html>\n"), "begins or ends otherwise")
    want(not re.search(r"https?:|//|url\(|@import|javascript:", re.sub(r"<title>.*?</title>", "", text))
         or "//" in " ".join(page.texts), "a resource from elsewhere")
    want(not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text), "a character that is not printed")
    for tag in ("h1", "main", "title", "header", "footer"):
        want(page.tags.get(tag) == 1, f"<{tag}> {page.tags.get(tag)} times")
    want(page.tags["caption"] == page.tags["table"] == page.tags["thead"], "a table without caption or head")
    whole = "".join(page.texts)
    want("Research use only." in whole and "must not be used in clinical care" in whole, "no research notice")
    want(re.search(r"llavamed-[a-z]+ \d+\.\d+\.\d+", whole), "no version")
    want("prefers-color-scheme:dark" in whole, "no dark colours")
    return page


def read_tensors(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin:8 + size + end]
        letter, width = {"F16": ("e", 2), "F32": ("f", 4), "F64": ("d", 8), "BF16": (None, 2)}[entry["dtype"]]
        n = len(raw) // width
        if letter is None:
            values = struct.unpack(f"<{n}f", b"".join(b"\0\0" + raw[2 * i:2 * i + 2] for i in range(n)))
        else:
            values = struct.unpack(f"<{n}{letter}", raw)
        tensors[name] = (entry["shape"], values)
    return tensors


def rms(values):
    finite = [v for v in values if math.isfinite(v)]
    return math.sqrt(math.fsum(v * v for v in finite) / len(finite)) if finite else None


def printable(name):
    return "".join(c if c.isprintable() else "?" * len(c.encode()) for c in name)


def is_near(text, value, digits):
    return abs(float(text) - value) <= abs(value) * 0.51 * 10 ** (1 - digits) + 1e-300


def want_scale(kind, value):
    bounds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]
    step = "hz" if value == 0 else f"h{sum(value >= bound for bound in bounds)}"
    near = any(abs(value - bound) < bound * 1e-9 for bound in bounds)
    want(kind == step or near, f"{value} is marked {kind}, not {step}")


def check_apply(page, base, delta):
    base, delta = read_tensors(base), read_tensors(delta)
    rows = {row[0]: row for row in page.rows if len(row) == 13}
    want(set(page.cells) == {printable(name) for name in delta}, "other cells than tensors")
    n_ratios = 0
    for name, (shape, values) in delta.items():
        kind, detail, text = page.cells[printable(name)]
        row = rows[printable(name)]
        if name not in base:
            want(kind == "hn" and text == "new", f"{name}: {kind} {text}")
            want(is_near(row[7], rms(values), 3), f"{name}: RMS of the delta alone {row[7]}, want {rms(values)}")
            continue
        of_base = rms(base[name][1])
        of_delta = rms(values[:len(base[name][1])])
        n_ratios += 1
        want(is_near(text, of_delta / of_base, 2), f"{name}: {text}, want {of_delta / of_base}")
        want(is_near(row[4], of_delta / of_base, 3), f"{name}: {row[4]}, want {of_delta / of_base}")
        want(is_near(row[5], of_base, 3) and is_near(row[6], of_delta, 3), f"{name}: {row[5:7]}")
        want(row[5] in detail and row[6] in detail, f"{name}: {detail}")
        want_scale(kind, of_delta / of_base)
    want(n_ratios >= 9, f"only {n_ratios} ratios")


def check_stats(page, source):
    tensors = read_tensors(source)
    want(set(page.cells) <= {printable(name) for name in tensors}, "cells for other tensors")
    want(len(page.cells) == min(len(tensors), len(page.cells)) and page.cells, "no cells")
    for name, (shape, values) in tensors.items():
        value = rms(values)
        if printable(name) not in page.cells or value is None:
            continue
        kind, detail, text = page.cells[printable(name)]
        want(is_near(text, value, 2), f"{name}: {text}, want {value}")
        want_scale(kind, value)


def main():
    page = read_page(sys.argv[2])
    if sys.argv[1] == "apply":
        check_apply(page, *sys.argv[3:])
    elif sys.argv[1] == "stats":
        check_stats(page, *sys.argv[3:])
        tensors = read_tensors(sys.argv[3])
        want(len(page.cells) == len(tensors) or len(tensors) > 1000, f"{len(page.cells)} cells of {len(tensors)}")
    elif sys.argv[1] == "verify":
        got = [sum(cell[0] == kind for cell in page.cells.values()) for kind in ("ok", "bad", "unk")]
        want(got == [int(n) for n in sys.argv[3:]], f"cells {got}, want {sys.argv[3:]}")
        summary = "%d intact, %d damaged, %d unchecked" % tuple(got)
        want(summary in "".join(page.texts), f"the verdict does not say {summary}")
    print("\n".join(problems[:10]))
    sys.exit(bool(problems))


main()
