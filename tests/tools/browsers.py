"""A real Chromium for tests: Debian's, driven over its debugging protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_core_python.base import AXE_FILE_PATH
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from servers import binary, wait_for

OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --disable-dev-shm-usage --hide-scrollbars"
)
SERIOUS = {"serious", "critical"}


class Browser:
    """A Chromium that shows one page at a time."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.agent: str = driver.execute_script("return navigator.userAgent")

    def be(
        self,
        width: int = 1024,
        *,
        dark: bool = False,
        language: str = "en-GB",
        scripts: bool = True,
        height: int = 900,
    ) -> None:
        """Emulate a screen width, a colour scheme, a language, and whether scripts run."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd(
            "Emulation.setUserAgentOverride",
            {"userAgent": self.agent, "acceptLanguage": language},
        )
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def open(self, url: str) -> None:
        """Load a page and wait until it is complete and its scripts have run."""
        self.driver.get("about:blank")
        self.records()
        self.console()
        self.driver.get(url)
        self.wait("document.readyState === 'complete'", f"{url} to load")

    def run(self, script: str, *arguments: object) -> Any:
        """Return the value of an expression on the page."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def wait(self, condition: str, what: str = "", seconds: float = 30) -> None:
        """Wait until an expression on the page is true."""
        wait_for(lambda: bool(self.run(condition)), what or condition, seconds)

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        found = self.run("document.querySelector(arguments[0])?.innerText", selector)
        return " ".join(str(found).split())

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element contains a text."""
        wait_for(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def console(self) -> list[str]:
        """Return the console messages since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def records(self) -> list[dict[str, Any]]:
        """Return the debugging protocol's events since the last call."""
        log = self.driver.get_log("performance")
        return [json.loads(entry["message"])["message"] for entry in log]

    def send(self, kind: str, **details: object) -> None:
        """Send a mouse or key event."""
        self.driver.execute_cdp_cmd(f"Input.dispatch{kind}Event", details)

    def violations(self) -> list[str]:
        """Return the serious findings of axe-core, each with rule and element."""
        self.driver.execute_script(Path(AXE_FILE_PATH).read_text("utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then(done, (error) => done(String(error)))"
        )
        assert isinstance(found, dict), found
        assert len(found["passes"]) > 10
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def picture(self, path: Path) -> None:
        """Write a screenshot as PNG."""
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run a Chromium with a fresh profile in `folder` until the block ends."""
    options = webdriver.ChromeOptions()
    options.binary_location = binary("chromium")
    for option in (*OPTIONS.split(), f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.page_load_strategy = "none"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(binary("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
