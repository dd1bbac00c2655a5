"""A Hugging Face id -> local files: the configuration, the tokenizer, and of the weights one tensor's bytes.

Small files go through huggingface_hub and its cache. A tensor's byte range is found from the safetensors header and
fetched by itself: 0.8 GB instead of an 8 GB model. It is kept under the hub's home, in a folder named by the commit, so
that what was fetched is there next time and an interrupted transfer goes on where it stopped. `HF_ENDPOINT`, `HF_HOME`,
`HF_TOKEN` and stored logins are huggingface_hub's and work as everywhere.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock
from huggingface_hub import HfApi, HfFileSystem, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from catalog.errors import CatalogError
from ingest.sources import CONFIG, INDEX, read_json
from ingest.weights import Matrix, Stored, checked_matrix, header_for, open_matrix, read_header

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken",
)  # fmt: skip
# What the hub's client raises where nothing answers: its HTTP library's own error, of whichever generation.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
# One request's share of a tensor: what an interruption loses, and what is in memory at once.
STEP_BYTES = 32 << 20


class HubModel:
    """A model on the hub at one commit: its small files in `folder`, its tensors fetched as they are asked for."""

    def __init__(self, repo: str, folder: Path) -> None:
        """Wrap a snapshot that huggingface_hub made; the folder is named by the commit."""
        self.where = repo
        self.folder = folder
        self.revision = folder.name
        self._headers: dict[str, dict[str, Stored]] = {}

    def names(self) -> list[str]:
        """Return every tensor's name."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from its file's header."""
        return self._stored(name).shape

    def matrix(self, name: str) -> Matrix:
        """Fetch a tensor, or what is still missing of it, into a safetensors file of its own."""
        stored = self._stored(name)
        checked_matrix(Path(self.where), name, stored.shape, stored.dtype)
        folder = Path(constants.HF_HOME) / "token-catalog" / quote(self.where, safe="") / self.revision
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{quote(name, safe='')}.safetensors"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                self._fetch(self._files[name], name, stored, path)
        return open_matrix(path, name)

    @cached_property
    def _files(self) -> dict[str, str]:
        """The file that each tensor is in: from the index, else from the headers of all safetensors files."""
        if (self.folder / INDEX).is_file():
            return dict(read_json(self.folder / INDEX).get("weight_map", {}))
        with _explained(self.where):
            there = HfApi(endpoint=constants.ENDPOINT).list_repo_files(self.where, revision=self.revision)
        files = [file for file in there if file.endswith(".safetensors") and "/" not in file]
        if not files:
            pickled = [file for file in there if file.endswith((".bin", ".pt", ".pth", ".ckpt"))]
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

    def _stored(self, name: str) -> Stored:
        file = self._files[name]
        header = self._header(file)
        if name not in header:
            raise CatalogError(f"{self.where}/{file}: has no tensor '{name}', though {INDEX} says so")
        return header[name]

    def _header(self, file: str) -> dict[str, Stored]:
        if file not in self._headers:
            with _explained(self.where), self._open(file) as stream:
                self._headers[file] = read_header(stream, f"{self.where}/{file}")
        return self._headers[file]

    def _open(self, file: str):  # type: ignore[no-untyped-def]
        filesystem = HfFileSystem(endpoint=constants.ENDPOINT)
        return filesystem.open(f"{self.where}@{self.revision}/{file}", "rb", cache_type="none")

    def _fetch(self, file: str, name: str, stored: Stored, path: Path) -> None:
        partial = path.with_name(path.name + ".part")
        header = header_for(name, stored)
        if not partial.exists() or partial.stat().st_size < len(header):
            partial.write_bytes(header)
        total = stored.stop - stored.start
        with (
            _explained(self.where),
            self._open(file) as stream,
            partial.open("r+b") as sink,
            tqdm(total=total, unit="B", unit_scale=True, desc=f"fetch {name}", disable=None) as progress,
        ):
            done = min(sink.seek(0, os.SEEK_END) - len(header), total)
            progress.update(done)
            while done < total:
                stream.seek(stored.start + done)
                received = stream.read(min(STEP_BYTES, total - done))
                if not received:
                    raise CatalogError(f"{self.where}/{file}: ends within '{name}'; the file on the hub is damaged")
                sink.seek(len(header) + done)
                sink.write(received)
                done += len(received)
                progress.update(len(received))
            sink.truncate(len(header) + total)
            sink.flush()
            os.fsync(sink.fileno())
        partial.rename(path)


def fetch(repo: str, revision: str | None) -> HubModel:
    """Fetch a model's configuration, index and tokenizer; tensors follow when they are asked for."""
    return HubModel(repo, _snapshot(repo, revision, (CONFIG, INDEX, *TOKENIZER_FILES)))


def fetch_tokenizer(repo: str) -> Path:
    """Fetch a tokenizer's files; return their folder."""
    return _snapshot(repo, None, (CONFIG, *TOKENIZER_FILES))


def _snapshot(repo: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    with _explained(repo, revision):
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=list(patterns), endpoint=constants.ENDPOINT)
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
            f"{repo}: no such folder here, and {constants.ENDPOINT} gave no answer ({reason}); try again: what has "
            "arrived is kept"
        ) from None
