"""The site of the documentation: what is on it, and what a browser makes of it from disk."""

from __future__ import annotations

import shutil
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import pipeline
from docs.site import build, navigation
from pipeline.jobs.job import Job, Resources
from tests.support.browser import chromium
from tests.support.visits import visit

OLDER = "0.0.9"


def put_version(folder: Path, name: str, *pages: str) -> None:
    for page in ("README.html", *pages):
        (folder / name / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / page).touch()


def test_a_folder_of_versions_leads_to_the_newest(tmp_path):
    put_version(tmp_path, "0.9.1", "docs/old.html")
    put_version(tmp_path, "0.10.0", "docs/new.html")
    (tmp_path / "doctrees").mkdir()
    build.list_versions(tmp_path)
    known = '{"0.10.0": ["README.html", "docs/new.html"], "0.9.1": ["README.html", "docs/old.html"]}'
    assert (tmp_path / "versions.js").read_text() == f"const VERSIONS = {known};\n"
    assert 'url=0.10.0/README.html"' in (tmp_path / "index.html").read_text()


def test_the_navigation_is_that_of_the_index():
    parts = navigation.sections()
    assert list(parts)[:2] == ["Tutorial", "How-to"]
    assert parts["Tutorial"][0] == ("Your first scene", "docs/tutorial/first-scene.md")
    assert "Your first scene </docs/tutorial/first-scene>\n" in navigation.toctrees()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(name, reason="needs the extra docs: pip install '.[docs]'")
    return build.build(tmp_path_factory.mktemp("built") / "site")


class Asked(HTMLParser):
    """What a page loads by itself, and the pages that it leads to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.loaded += [value for name, value in attrs if name == "src" or (name == "href" and tag == "link")]
        self.links += [known["href"]] if tag == "a" and "href" in known else []


@pytest.mark.slow
def test_every_page_is_built_and_listed_beside_the_text(site):
    listed = {urlsplit(link).path for link in Asked(site).links}
    assert {page.removesuffix(".md") + ".html" for page in navigation.pages()} - {site.name} <= listed
    missing = [path for path in listed if path.endswith(".html") and not (site.parent / path).is_file()]
    assert missing == []


@pytest.mark.slow
def test_no_page_asks_another_server_for_anything(site):
    for page in site.parent.rglob("*.html"):
        assert [address for address in Asked(page).loaded if urlsplit(address).netloc] == [], page
    styles = "".join(style.read_text(encoding="utf-8") for style in site.parent.rglob("*.css"))
    assert "url(http" not in styles
    assert "url(//" not in styles


@pytest.mark.slow
def test_public_names_and_their_fields_are_documented(site):
    text = (site.parent / "docs/reference/api.html").read_text(encoding="utf-8")
    assert [name for name in pipeline.__all__ if f'id="pipeline.{name}"' not in text] == []
    described = {f"pipeline.{name}": fields(getattr(pipeline, name)) for name in ("Grid", "Box", "Report")}
    listed = [f'id="{kind}.{field.name}"' for kind, known in described.items() for field in known]
    meant = [f"<strong>{field.name}</strong>" for kind in (Job, Resources) for field in fields(kind)]
    assert [mark for mark in (*listed, *meant) if mark not in text] == []


@pytest.mark.slow
@pytest.mark.server
def test_a_browser_finds_and_changes_versions_from_disk(site):
    shutil.copytree(site.parent, site.parents[1] / OLDER)
    build.list_versions(site.parents[1])
    tutorial = site.parent / "docs/tutorial/first-scene.html"
    with chromium() as browser, visit(browser, tutorial, width=400) as seen:
        page = seen.page
        assert seen.fits()
        page.set_viewport_size({"width": 1300, "height": 900})
        page.get_by_label("Version").select_option(OLDER)
        page.wait_for_url(f"**/{OLDER}/docs/tutorial/first-scene.html")
        page.get_by_placeholder("Search").fill("nodata")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Nodata: cells that were not observed").click()
        page.wait_for_url(f"**/{OLDER}/docs/concepts/nodata.html**")
