"""A STAC API on this machine, and items for it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pystac


def item(identity="a", assets=None, clouds=None, day=1, when=None, **more):
    about = {"visual": {"href": "./tci.tif"}} if assets is None else assets
    made = pystac.Item(identity, None, None, when or datetime(2026, 5, day, tzinfo=UTC), {}, **more)
    for name, asset in about.items():
        more_of_it = {key: value for key, value in asset.items() if ":" in key or key == "bands"}
        made.add_asset(name, pystac.Asset(asset["href"], media_type=asset.get("type"), extra_fields=more_of_it))
    if clouds is not None:
        made.properties["eo:cloud_cover"] = clouds
    return made.to_dict()


@contextmanager
def api(items, conforms=("item-search#query",), *, by_time=False):
    """A STAC API with these items, or those of the time that is asked for; what it was asked for."""
    asked = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            self._say(landing if parts.path == "/" else self._found(parse_qs(parts.query)))

        def do_POST(self):
            self._say(self._found(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _found(self, words):
            asked.append(words)
            return {
                "type": "FeatureCollection",
                "features": list(filter(_within(words), items)) if by_time else items,
                "links": [],
            }

        def _say(self, said):
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    core = "https://api.stacspec.org/v1.0.0/"
    links = [{"rel": rel, "href": f"{address}/"} for rel in ("root", "self")]
    search = {"rel": "search", "href": f"{address}/search", "type": "application/geo+json"}
    landing = {
        "type": "Catalog",
        "id": "api",
        "description": "items",
        "stac_version": "1.0.0",
        "conformsTo": [f"{core}core", f"{core}item-search", *(f"{core}{name}" for name in conforms)],
        "links": [*links, *({**search, "method": method} for method in ("GET", "POST"))],
    }
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address, asked
    finally:
        server.shutdown()
        server.server_close()


def _within(words):
    """Whether an item is of the time that was asked for, as servers have it that conform."""
    since, until = map(datetime.fromisoformat, words["datetime"].split("/"))
    return lambda item: since <= datetime.fromisoformat(item["properties"]["datetime"]) <= until
