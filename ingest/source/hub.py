"""A Hugging Face id -> local files: the configuration, the tokenizer, and of the weights one tensor's bytes.

Small files go through huggingface_hub and its cache. A tensor's byte range is found from the safetensors header and
fetched by itself: 0.8 GB instead of an 8 GB model. It is kept under the hub's home, in a folder named by the commit, so
that what was fetched is there next time and an interrupted transfer goes on where it stopped. `HF_ENDPOINT`, `HF_HOME`,
`HF_TOKEN` and stored logins are huggingface_hub's and work as everywhere.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    hf_raise_for_status,
    http_stream_backoff,
)
from tqdm.auto import tqdm

from token_catalog.catalog.errors import CatalogError

from ..report import bar_options
from .matrix import (
    LENGTH_BYTES,
    Matrix,
    Stored,
    checked_matrix,
    header_for,
    header_stop,
    open_matrix,
    read_header,
)
from .model_files import CONFIG, INDEX, TOKENIZER_FILES, is_pickled, read_index

# What the hub's client raises where nothing answers: its HTTP library's own error, of whichever generation.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


class HubModel:
    """A model on the hub at one commit: its small files in `folder`, its tensors fetched as they are asked for."""

    def __init__(self, repo: str, folder: Path) -> None:
        """Wrap a snapshot that huggingface_hub made; the folder is named by the commit."""
        self.where = repo
        self.folder = folder
        self.revision = folder.name
        self._headers: dict[str, dict[str, Stored]] = {}
        self._kept = Path(constants.HF_HOME, "token-catalog", quote(repo, safe=""), self.revision)
        self._kept.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Return every tensor's name."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from its file's header."""
        return self._stored(name).shape

    def matrix(self, name: str, stored_as: str | None = None) -> Matrix:
        """Fetch a tensor, or what is still missing of it, into a safetensors file of its own."""
        stored, file = self._stored(name), self._files[name]
        checked_matrix(Path(self.where, file), name, stored.shape, stored.dtype, stored_as)
        if (self.folder / file).is_file():  # somebody fetched the whole model
            return open_matrix(self.folder / file, name, stored_as)
        path = self._kept / f"{quote(name, safe='')}.safetensors"
        header = header_for(name, stored)
        with FileLock(f"{path}.lock"):
            if not path.exists() or path.stat().st_size != len(header) + stored.stop - stored.start:
                self._fetch(file, name, stored, header, path)
        return open_matrix(path, name, stored_as)

    @cached_property
    def _files(self) -> dict[str, str]:
        """The file that each tensor is in: from the index, else from the headers of all safetensors files."""
        if (self.folder / INDEX).is_file():
            return read_index(self.folder / INDEX)
        there: list[str] = json.loads(self._keep("files.json", lambda: json.dumps(self._files_there()).encode()))
        files = [file for file in there if file.endswith(".safetensors") and "/" not in file]
        if not files:
            pickled = [file for file in there if is_pickled(file)]
            raise CatalogError(
                f"{self.where}: has no .safetensors file"
                + (
                    f"; {pickled[0]} is pickled and can run code when it is opened, so it never is here: convert it "
                    "where you trust it (save_pretrained of transformers writes model.safetensors)"
                    if pickled
                    else ""
                )
            )
        return {name: file for file in files for name in self._header(file)}

    def _files_there(self) -> list[str]:
        with _explained(self.where):
            return HfApi(endpoint=constants.ENDPOINT).list_repo_files(self.where, revision=self.revision)

    def _stored(self, name: str) -> Stored:
        file = self._files[name]
        header = self._header(file)
        if name not in header:
            raise CatalogError(f"{self.where}/{file}: has no tensor '{name}', though {INDEX} says so")
        return header[name]

    def _header(self, file: str) -> dict[str, Stored]:
        if file not in self._headers:
            kept = self._keep(f"{quote(file, safe='')}.header", lambda: self._fetch_header(file))
            self._headers[file] = read_header(kept, f"{self.where}/{file}")
        return self._headers[file]

    def _fetch_header(self, file: str) -> bytes:
        where = f"{self.where}/{file}"
        beginning = b"".join(self._stream(file, 0, LENGTH_BYTES))
        header = beginning + b"".join(self._stream(file, LENGTH_BYTES, header_stop(beginning, where)))
        read_header(header, where)  # a damaged one isn't kept
        return header

    def _keep(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """Return what `fetch` gives, or gave the last time: a commit never changes."""
        path = self._kept / name
        if not path.exists():
            partial = path.with_name(f"{name}.{os.getpid()}")
            partial.write_bytes(fetch())
            partial.replace(path)
        return path.read_bytes()

    def _fetch(self, file: str, name: str, stored: Stored, header: bytes, path: Path) -> None:
        """Write a tensor's file, beside its place until it is whole; what an earlier try left there is gone on with."""
        partial = path.with_name(path.name + ".part")
        total = stored.stop - stored.start
        with partial.open("a+b") as sink:  # every write is at the end
            done = sink.tell() - len(header)
            sink.seek(0)
            if not 0 <= done <= total or sink.read(len(header)) != header:
                sink.truncate(0)
                sink.write(header)
                done = 0
            with tqdm(
                initial=done, total=total, unit="B", unit_scale=True, desc=f"fetch {name}", **bar_options()
            ) as progress:
                for piece in self._stream(file, stored.start + done, stored.stop):
                    sink.write(piece)
                    progress.update(len(piece))
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(path)

    def _stream(self, file: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes from `start` to `stop`; where the connection breaks, ask again for the rest."""
        with _explained(self.where):
            while start < stop:
                began = start
                try:
                    for piece in self._request(file, start, stop):
                        start += len(piece)
                        yield piece
                except _TRANSPORT_ERROR:
                    if start == began:
                        raise

    def _request(self, file: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield what one request for these bytes brings, as it comes."""
        url = hf_hub_url(self.where, file, revision=self.revision, endpoint=constants.ENDPOINT)
        headers = build_hf_headers() | {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        broken: Exception | None = None
        with http_stream_backoff("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise CatalogError(f"{self.where}/{file}: ends before byte {stop:,}; the file on the hub is damaged")
            try:
                hf_raise_for_status(response)
            except EntryNotFoundError:
                raise CatalogError(f"{self.where}: has no {file}, though {INDEX} names it") from None
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                raise CatalogError(
                    f"{constants.ENDPOINT}: sends whole files where a part is asked for; "
                    f"download {self.where} and give its folder"
                )
            try:
                yield from response.iter_bytes()
            except _TRANSPORT_ERROR as error:
                broken = error  # raised outside: inside, http_stream_backoff would take it for its own
        if broken:
            raise broken


class _TerminalBar(tqdm):  # type: ignore[type-arg]
    """A progress bar where ours show; the hub's own show everywhere."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**bar_options(), **options})


def fetch(repo: str, revision: str | None) -> HubModel:
    """Fetch a model's configuration, index and tokenizer; tensors follow when they are asked for."""
    return HubModel(repo, _snapshot(repo, revision, (CONFIG, INDEX, *TOKENIZER_FILES)))


def fetch_tokenizer(repo: str) -> Path:
    """Fetch a tokenizer's files; return their folder."""
    return _snapshot(repo, None, (CONFIG, *TOKENIZER_FILES))


def _snapshot(repo: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    with _explained(repo, revision):
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(patterns),
                endpoint=constants.ENDPOINT,
                tqdm_class=_TerminalBar,
            )
        )


@contextmanager
def _explained(repo: str, revision: str | None = None) -> Iterator[None]:
    """Turn the hub's errors into ours."""
    try:
        yield
    except GatedRepoError:
        raise CatalogError(
            f"{repo}: is gated; accept its terms on {constants.ENDPOINT}/{repo}, then `hf auth login` or set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise CatalogError(
            f"{repo}: no such folder here, and no such model on {constants.ENDPOINT} (or a private one: HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise CatalogError(f"{repo}: has no revision '{revision}'") from None
    except HFValidationError as error:
        raise CatalogError(f"{repo}: no such file or folder, and no Hugging Face id ({error})") from None
    except (_TRANSPORT_ERROR, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CatalogError(
            f"{repo}: no such folder here, and {constants.ENDPOINT} failed ({reason}); "
            "try again: what has arrived is kept"
        ) from None
