# SPDX-License-Identifier: Apache-2.0
"""Pages of --report in a real browser: headless Chromium, spoken to over its own pipe.

Each page is loaded light and dark, on a wide screen and on a phone's, and printed. There are as many cells as tensors,
all texts in cells can be read (contrast of WCAG 2, by the styles that the browser computed), nothing is wider than the
screen but what scrolls by itself, tables and regions have names for who does not see them, nothing is requested beside
the page, nothing is logged, nothing is a script; screenshots show something, and light and dark are not the same.

Usage: report.py --programs DIR [--chromium COMMAND] [--keep DIR]
--keep leaves pages and screenshots there, to be looked at.
Ends with "N passed, N failed".
"""

import argparse
import base64
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
import zlib

HOSTILE = ["<script>alert(1)</script>\"'&", "model.layers.0.<img src=x onerror=alert(1)>", "]]></style></title><h1>",
           "<!--", "model.layers.0.\u202eexe.weight", "esc\u001b[31m", "http://example.org/<link href=\"//example.org\">"]


class Browser:
    """Chromium with --remote-debugging-pipe: messages of JSON that end with NUL."""

    def __init__(self, command, profile):
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()

        def connect():
            high = [os.dup(fd) for fd in (to_read, to_write)]  # above 4, whatever the numbers were
            while min(high) < 5:
                high = [os.dup(fd) for fd in high]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                     "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen([command] + arguments + ["about:blank"], preexec_fn=connect, close_fds=False,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer, self.events = 0, b"", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(domain + ".enable")

    def read(self):
        while b"\0" not in self.buffer:
            data = os.read(self.from_browser, 1 << 16)
            if not data:
                raise RuntimeError("the browser has ended")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def load(self, path):
        self.events.clear()
        self.call("Page.navigate", url="file://" + path)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def show(self, scheme, width, height):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def picture(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)["data"])

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)


def pixels(png):
    """(width, height, bytes per pixel, rows) of a PNG of 8 bits a channel."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    channels = {2: 3, 6: 4}[kind]
    assert depth == 8
    at, data = 8, b""
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at:at + 8])
        data += png[at + 8:at + 8 + size] if name == b"IDAT" else b""
        at += 12 + size
    data, stride, before, rows = zlib.decompress(data), width * channels, bytearray(width * channels), []
    for y in range(height):
        filtered, row = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            left = row[x - channels] if x >= channels else 0
            up, corner = before[x], before[x - channels] if x >= channels else 0
            if filtered == 1:
                row[x] = (row[x] + left) & 255
            elif filtered == 2:
                row[x] = (row[x] + up) & 255
            elif filtered == 3:
                row[x] = (row[x] + (left + up) // 2) & 255
            elif filtered == 4:
                guess = left + up - corner
                nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))
                row[x] = (row[x] + nearest[2]) & 255
        rows.append(bytes(row))
        before = row
    return width, height, channels, rows


def luminance(channels):
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb(text):
    channels = [float(c) for c in text[text.index("(") + 1:-1].split(",")]
    assert len(channels) == 3 or channels[3] == 1, f"{text} is not opaque"
    return channels


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, raw) in tensors.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def make_pair(rng, layers, extra):
    """Base and delta whose sizes cover the whole scale."""
    base, delta = {}, {}

    def both(name, shape, size, ratio, rows=0):
        n = 1
        for length in shape:
            n *= length
        m = n + rows * shape[-1]
        base[name] = shape, struct.pack(f"<{n}e", *(rng.gauss(0, size) for _ in range(n)))
        delta[name] = ([shape[0] + rows] + shape[1:], struct.pack(f"<{m}e", *(rng.gauss(0, size * ratio) for _ in range(m))))

    both("model.embed_tokens.weight", [40, 16], 0.02, 0.02, 3)
    for layer in range(layers):
        parts = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "down", "up")]
        for i, part in enumerate(parts):
            both(f"model.layers.{layer}.{part}.weight", [16, 16], 0.03, 10 ** (-3.6 + 3.8 * layer / layers * (0.6 + i / 12)))
        both(f"model.layers.{layer}.input_layernorm.weight", [16], 0.4, 0 if layer == 0 else 0.001)
        both(f"model.layers.{layer}.post_attention_layernorm.weight", [16], 0.4, 0.0005)
    both("model.norm.weight", [16], 1, 0.0007)
    both("lm_head.weight", [40, 16], 0.02, 0.05, 3)
    for name in extra:
        both(name, [4, 4], 0.02, 0.01)
    delta["model.mm_projector.weight"] = [16, 16], struct.pack("<256e", *(rng.gauss(0, 0.02) for _ in range(256)))
    return base, delta


class Pages:
    def __init__(self, programs, work):
        self.programs, self.work = programs, work

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self, program, *arguments, status=0):
        done = subprocess.run([os.path.join(self.programs, "llavamed-" + program), *arguments], cwd=self.work,
                              capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == status, f"{program} {arguments}: {done.returncode}: {done.stderr[-500:]}"

    def make(self):
        """Yields (name, path of the page, number of tensors)."""
        rng = random.Random(11)
        for name, layers, extra in (("model", 32, []), ("hostile", 2, HOSTILE)):
            base, delta = make_pair(rng, layers, extra)
            write_safetensors(self.path(f"{name}-base/model.safetensors"), base)
            write_safetensors(self.path(f"{name}-delta/model.safetensors"), delta)
            page = f"{name}-apply.html"
            self.run("apply", "--base", f"{name}-base", "--delta", f"{name}-delta", "--out", name, "--report", page,
                     "--allow-unknown-base")
            yield page, len(delta)
            self.run("inspect", name, "--stats", "--report", f"{name}-stats.html")
            yield f"{name}-stats.html", len(delta)
        self.run("verify", "model", "--report", "intact.html")
        yield "intact.html", 32 * 9 + 4
        with open(self.path("model/model.safetensors"), "r+b") as file:
            for offset in (-9, -5000, -20000):
                file.seek(offset, os.SEEK_END)
                byte = file.read(1)[0]
                file.seek(offset, os.SEEK_END)
                file.write(bytes([byte ^ 1]))
        open(self.path("model/<script>alert(1)<"), "w", encoding="utf-8").close()
        self.run("verify", "model", "--report", "damaged.html", status=1)
        yield "damaged.html", 32 * 9 + 4


CELLS = """Array.from(document.querySelectorAll("td.t, .legend li, .kind, p, th, td:not(.t), strong, caption, h1, h2"))
.filter(e => e.textContent.trim()).map(e => { let b = e, s; do { s = getComputedStyle(b).backgroundColor; b = b.parentElement; }
while (s === "rgba(0, 0, 0, 0)" && b); return [getComputedStyle(e).color, s, e.textContent.slice(0, 40)]; })"""


def check_page(browser, path, n_tensors, keep):
    light_dark = []
    for scheme, width, height in (("light", 1280, 1000), ("dark", 1280, 1000), ("light", 390, 844), ("dark", 390, 844)):
        where = f"{scheme}, {width} wide"
        browser.show(scheme, width, height)
        browser.load(path)
        n_cells = browser.ask('document.querySelectorAll("td.t").length')
        assert n_cells == n_tensors, f"{n_cells} cells, want {n_tensors}"
        assert browser.ask("document.compatMode") == "CSS1Compat", "quirks mode"
        assert browser.ask('document.querySelectorAll("script, img, iframe, object, form, a").length') == 0, "elements"
        untitled = 'td => !td.title || !td.textContent'
        assert browser.ask(f'Array.from(document.querySelectorAll("td.t")).filter({untitled}).length') == 0, "no title"
        wide = browser.ask("document.documentElement.scrollWidth")
        assert wide <= width, f"{where}: the page is {wide} wide"
        for colour, back, text in browser.ask(CELLS):
            ratio = contrast(rgb(colour), rgb(back))
            assert ratio >= 4.5, f"{where}: '{text}' has a contrast of {ratio:.2f} ({colour} on {back})"
        png = browser.picture()
        if keep:
            name = os.path.basename(path)[:-5]
            with open(os.path.join(keep, f"{name}-{scheme}-{width}.png"), "wb") as file:
                file.write(png)
        check_picture(png, scheme, where)
        light_dark.append(png)
        for event in browser.events:
            method, parameters = event["method"], event["params"]
            assert method not in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"), event
            if method == "Network.requestWillBeSent":
                url = parameters["request"]["url"]
                assert url == "file://" + path or url.startswith("data:"), f"a request for {url}"
    assert light_dark[0] != light_dark[1] and light_dark[2] != light_dark[3], "light and dark are the same"
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {"table": 0, "region": 0}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in named and not node.get("ignored"):
            named[role] += 1
            assert node.get("name", {}).get("value"), f"a {role} without a name"
    assert named["table"] >= 3 and named["region"] >= 3, named
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=False)["data"])
    assert pdf.startswith(b"%PDF-") and len(pdf) > 10000, "nothing is printed"


def check_picture(png, scheme, where):
    _, height, channels, rows = pixels(png)
    sample = [row[x:x + 3] for row in rows[::5] for x in range(0, len(row), 5 * channels)]
    colours = set(sample)
    brightness = sum(sum(pixel) for pixel in sample) / len(sample) / 765
    assert len(colours) >= 20, f"{where}: the picture has {len(colours)} colours"
    assert (brightness > 0.6) == (scheme == "light") and (brightness < 0.4) == (scheme == "dark"), \
        f"{where}: the brightness is {brightness:.2f}"
    assert height > 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--keep")
    options = parser.parse_args()
    work = os.path.realpath(tempfile.mkdtemp())
    passed = failed = 0
    if options.keep:
        os.makedirs(options.keep, exist_ok=True)
    browser = None
    try:
        browser = Browser(options.chromium, os.path.join(work, "profile"))
        for page, n_tensors in Pages(os.path.abspath(options.programs), work).make():
            try:
                check_page(browser, os.path.join(work, page), n_tensors, options.keep)
                passed += 1
            except (AssertionError, RuntimeError, KeyError, ValueError):
                print(f"FAILED {page}")
                traceback.print_exc(limit=1, file=sys.stdout)
                failed += 1
            if options.keep:
                shutil.copy(os.path.join(work, page), options.keep)
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stdout)
        failed += 1
    finally:
        if browser:
            browser.close()
        shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
