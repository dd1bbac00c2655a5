"""The tensors of a model in a local folder, and the refusal of pickled ones, which are never opened."""

from pathlib import Path

from token_catalog.catalog.errors import CatalogError

from .hdf5 import HDF5_SUFFIXES
from .matrix import Matrix, open_matrix, tensor_shapes
from .model_files import INDEX, is_pickled, read_index


class LocalTensors:
    """The tensors of a local folder: one file, several, or an index with shards. Opens a shard when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Find the folder's tensors; CatalogError where it has none that may be opened."""
        self.where = str(folder)
        index = folder / INDEX
        if index.is_file():
            self._files = {name: folder / file for name, file in read_index(index).items()}
            return
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise _no_safetensors(folder)
        self._files = {name: file for file in files for name in tensor_shapes(file)}

    def names(self) -> list[str]:
        """Return every tensor's name."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tensor_shapes(self._shard(name)).get(name, ())

    def matrix(self, name: str, stored_as: str | None = None) -> Matrix:
        """Return a tensor as a matrix; of U16, as the numbers that it has the bits of."""
        return open_matrix(self._shard(name), name, stored_as)

    def _shard(self, name: str) -> Path:
        file = self._files[name]
        if not file.is_file():
            raise CatalogError(
                f"{file}: the shard with '{name}' isn't there, though {INDEX} names it; download it again"
            )
        return file


def pickled(path: str | Path) -> CatalogError:
    """Return the refusal of a file of pickled weights, with the lines that convert it in a Python of the user's own.

    They take the first tensor that is called an embedding, else the first, and print its name beside all. They can be
    pasted as they are: none needs an empty line after it.
    """
    path = Path(path)
    converted = path.absolute().with_suffix(".safetensors")
    if converted.exists():  # pasted lines overwrite nothing that is the user's
        converted = converted.with_suffix(".W.safetensors")
    lines = (
        "import torch; from safetensors.torch import save_file",
        f"held = torch.load({str(path.absolute())!r}, map_location='cpu', weights_only=True)",
        "held = held.get('model', held.get('state_dict', held)) if isinstance(held, dict) else {'embedding': held}",
        "name = next((n for n in held if 'emb' in n or 'wte' in n), [*held][0]); print(name, 'of', *held)",
        f"save_file({{'W': held[name].detach().contiguous()}}, {str(converted)!r})",
    )
    return CatalogError(
        f"{path}: pickled weights can run code when they are opened, so they never are here; convert them where you "
        "trust them: model.save_pretrained(FOLDER) of transformers writes model.safetensors, and in Python these lines "
        f"write {converted.name}, which is a source:\n" + "\n".join(lines)
    )


def _no_safetensors(folder: Path) -> CatalogError:
    weights = sorted(path for path in folder.glob("*") if is_pickled(path.name))
    if weights:
        return pickled(weights[0])
    other = next((path.name for path in sorted(folder.glob("*")) if path.suffix in HDF5_SUFFIXES), None)
    return CatalogError(f"{folder}: has no .safetensors file" + (f"; give {other} itself" if other else ""))
