"""A Hugging Face hub on the loopback: it serves model folders, notes what travelled, and breaks when told to.

It speaks what huggingface_hub asks of a model: `/api/models/ID/revision/REV`, `…/tree/REV`, and `/ID/resolve/REV/FILE`
with ranges, entity tags and the hub's own error codes.

Beside it, what its tests share: a model that it serves, a client that asks there, and where a tensor's bytes are.
"""

import hashlib
import json
import os
import pickle
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
from huggingface_hub import close_session, constants
from huggingface_hub.utils import _http
from safetensors.torch import save_file

from tests.support.models import save_tokenizer
from token_catalog.ingest.report import Report
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions

ID = "org/model"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDING, UNEMBEDDING = "model.embed_tokens.weight", "lm_head.weight"
N_TOKENS, N_DIMS = 3000, 16
N_BYTES = N_TOKENS * N_DIMS * 2

_API = re.compile(r"/api/models/(?P<repo>.+?)/(?P<what>revision|tree)/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<repo>.+?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Exchange:
    """One request and what was sent for it: `start` is where its Range begins (0 without one)."""

    method: str
    path: str
    start: int
    status: int
    n_bytes: int
    authorization: str | None


@dataclass(frozen=True)
class Fault:
    """What befalls one request for a file: a status instead of it, or a body cut after some bytes, then held open."""

    status: int | None = None
    after: int = 0
    stall: bool = False


@dataclass
class Hub:
    """The hub's content and its log: folders by model id and revision.

    `token` is the one it asks for, `weights_at` another server that it sends to for weights (as the real one does),
    `ranges` whether it honours Range, `faults` what befalls the next requests for a file of that name.
    """

    repos: dict[str, dict[str, Path]]
    token: str | None = None
    gated: set[str] = field(default_factory=set)
    ranges: bool = True
    weights_at: "Hub | None" = None
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    log: list[Exchange] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def sent(self, file: str) -> list[Exchange]:
        """Return what was sent of a file, in order."""
        return [e for e in self.log if e.method == "GET" and e.path.endswith(f"/{file}")]

    def commit(self, repo: str, revision: str = "main") -> str:
        """Return the commit that a revision names."""
        return hashlib.sha1(f"{repo}@{self.repos[repo][revision]}".encode(), usedforsecurity=False).hexdigest()

    def branch(self, repo: str, revision: str) -> str | None:
        """Return the branch of that name or commit."""
        return next((name for name in self.repos[repo] if revision in (name, self.commit(repo, name))), None)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub at `hub.url` until the block ends."""

    class Handler(_Handler):
        content = hub

    server = _Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away, which some tests make it do."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is `Hub.log`."""

    def _answer(self) -> None:
        asked = urlsplit(self.path).path
        match = _API.fullmatch(asked) or _FILE.fullmatch(asked)
        if match is None:
            self.send_error(404)
            return
        path, found = unquote(asked), {name: unquote(value) for name, value in match.groupdict().items()}
        allowed = self.content.token in (None, (self.headers["Authorization"] or "").removeprefix("Bearer "))
        if found["repo"] not in self.content.repos or not allowed:
            self._send(path, 401 if not self.headers["Authorization"] else 404, code="RepoNotFound")
            return
        branch = self.content.branch(found["repo"], found["revision"])
        if branch is None:
            self._send(path, 404, code="RevisionNotFound")
            return
        folder, commit = self.content.repos[found["repo"]][branch], self.content.commit(found["repo"], branch)
        if "file" in found:
            self._send_file(path, found["repo"], commit, folder / found["file"])
        else:
            files = [(p.relative_to(folder).as_posix(), p) for p in sorted(folder.rglob("*")) if p.is_file()]
            tree = [{"type": "file", "path": n, "size": p.stat().st_size, "oid": _etag(p)} for n, p in files]
            about = {"id": found["repo"], "sha": commit, "siblings": []}
            self._send(path, 200, json.dumps(tree if found["what"] == "tree" else about).encode())

    def _send_file(self, path: str, repo: str, commit: str, file: Path) -> None:
        faults = self.content.faults.get(file.name, [])
        if repo in self.content.gated:
            self._send(path, 403, code="GatedRepo")
        elif not file.is_file():
            self._send(path, 404, code="EntryNotFound")
        elif self.content.weights_at and file.suffix == ".safetensors":
            self._send(path, 302, headers={"Location": self.content.weights_at.url + path})
        elif faults and faults[0].status:
            self._send(path, faults.pop(0).status or 0)
        else:
            body = file.read_bytes()
            headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            asked = _RANGE.fullmatch(self.headers["Range"] or "")
            if asked is None or not self.content.ranges:
                self._send(path, 200, body, headers)
                return
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(body))
            if start >= len(body):
                self._send(path, 416)
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            fault = faults.pop(0) if faults and faults[0].after < stop - start else None
            self._send(path, 206, body[start:stop], headers, start, fault)

    def _send(
        self,
        path: str,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        start: int = 0,
        fault: Fault | None = None,
        code: str | None = None,
    ) -> None:
        sent = b"" if self.command == "HEAD" else body[: fault.after] if fault else body
        self.content.log.append(Exchange(self.command, path, start, status, len(sent), self.headers["Authorization"]))
        self.send_response(status)
        for name, value in {**(headers or {}), **({"X-Error-Code": code} if code else {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(sent)
        if fault:
            self.wfile.flush()
            self.content.stalled.set()
            if fault.stall:
                self.content.released.wait(60)
            self.close_connection = True


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def asked_here(hub: Hub, home: Path) -> Iterator[None]:
    """Let this process' hub client ask `hub`, keep what it fetches in `home`, and not wait before it tries again."""
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HOME": home,
        "HF_HUB_CACHE": home / "hub",
    }
    settings |= {"HF_TOKEN_PATH": home / "token", "AGENT_HARNESSES_PATH": home / "agents.json"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, str(value))
        monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None))
        yield
        close_session()


@contextmanager
def serving_a_model(tmp_path: Path) -> Iterator[Hub]:
    """Serve an untied model as ID to this process, which keeps what it fetches in tmp_path/home."""
    with serving(Hub({ID: {"main": save_model(tmp_path / "served")}})) as hub, asked_here(hub, tmp_path / "home"):
        yield hub


def save_model(folder: Path, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """Save a model as the hub has them: an embedding, an unembedding, a layer, and files that nobody needs."""
    generator = torch.Generator().manual_seed(0)
    shapes = {EMBEDDING: (N_TOKENS, N_DIMS), UNEMBEDDING: (N_TOKENS, N_DIMS), "model.layers.0.weight": (500, 500)}
    made = {name: torch.randn(shape, generator=generator).to(torch.bfloat16) for name, shape in shapes.items()}
    folder.mkdir(parents=True)
    save_file(tensors or made, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"vocab_size": N_TOKENS, "hidden_size": N_DIMS}))
    (folder / "README.md").write_text("#")
    (folder / "modeling_odd.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(0))
    save_tokenizer(folder, N_TOKENS)
    return folder


def layout(file: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return where a file's header ends, and each tensor's first and last+1 byte in the file."""
    content = file.read_bytes()
    data = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:data])
    offsets = {name: about["data_offsets"] for name, about in header.items() if name != "__metadata__"}
    return data, {name: (data + begin, data + end) for name, (begin, end) in offsets.items()}


def spans(exchanges: list[Exchange]) -> list[tuple[int, int]]:
    """Return the bytes that were sent: from where, and how many."""
    return [(e.start, e.n_bytes) for e in exchanges if e.n_bytes]


def catalogued(tmp_path: Path, source: str = ID, **options: str | None) -> Report:
    """Ingest the embedding of an id into tmp_path/catalog, in the place of an earlier one."""
    return ingest(tmp_path / "catalog", source, SourceOptions(**{"matrix": "input", **options}), replace=True)


def command(tmp_path: Path, *options: str) -> list[str]:
    """Return the command that ingests the embedding of ID."""
    ingest = [sys.executable, "-m", "token_catalog", "ingest", ID, "--matrix", "input"]
    return [*ingest, "--catalog", str(tmp_path / "catalog"), *options]


def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user of this hub."""
    return {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_mine",
        "HF_HUB_OFFLINE": "0",
    }
