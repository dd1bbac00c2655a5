"""SOURCE -> W: the matrices that transformers itself calls a model's embeddings, and what is refused and how."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from tests.support.helpers import rows, save_bare
from tests.support.models import EMBEDDING, UNEMBEDDING, WEIGHTS, matrix_of, save_tensors, save_tokenizer
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.schemas import (
    ALIGNED_TOKENS,
    ALIGNMENTS,
    COMPONENT_DIAMETERS,
    FRAME_AXES,
    FRAME_PLACES,
    RECIPE_CLUSTERS,
    SERIES_FRAMES,
    SPECTRA,
    SPECTRUM_COMPONENTS,
    TABLES,
)
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.matrix import Matrix
from token_catalog.ingest.source.model_files import INDEX
from token_catalog.ingest.source.resolve import SourceOptions, resolve_source

pytestmark = pytest.mark.usefixtures("tables_only")

DECODERS = (
    "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "olmo2", "glm",
    "stablelm", "starcoder2", "cohere", "granite", "nemotron", "smollm3", "lfm2", "jamba", "gpt2", "gptj", "gpt_neox",
    "opt", "bloom", "mpt", "codegen", "mamba", "falcon_mamba", "openai-gpt", "ctrl", "biogpt",
)  # fmt: skip
ENCODERS = (
    "bert", "roberta", "xlm-roberta", "distilbert", "albert", "electra", "modernbert", "mpnet", "deberta-v2",
    "mobilebert", "convbert", "xlm",
)  # fmt: skip
SMALL = {
    "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
SMALL_SEQ2SEQ = {
    "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
}  # fmt: skip
SMALL_VISION = {
    "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 8, "patch_size": 4,
}  # fmt: skip

# Tables that have rows only where a recipe, or a command, asks for some.
ASKED_FOR = (
    RECIPE_CLUSTERS, FRAME_AXES, FRAME_PLACES, SERIES_FRAMES, SPECTRA, SPECTRUM_COMPONENTS, ALIGNMENTS, ALIGNED_TOKENS,
)  # fmt: skip


def save_model(folder: Path, auto: Any, model_type: str, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """Save a random model of a few thousand parameters as transformers saves it; return it."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = auto.from_config(AutoConfig.for_model(model_type, **config)).to(dtype)
    model.save_pretrained(folder)
    return model


def found(source: Path, **options: str) -> dict[str, torch.Tensor]:
    """Return the matrices that a source means, by key, read in chunks of 7 rows."""
    return {
        key: rows_of(matrix)
        for key, (_, matrix) in resolve_source(str(source), SourceOptions(**options)).matrices.items()
    }


def rows_of(matrix: Matrix) -> torch.Tensor:
    """Return a matrix's rows as stored."""
    return torch.cat([rows for _, rows in matrix.chunks(7)])


def check(folder: Path, model: PreTrainedModel) -> None:
    """Compare what is found with the model's own embeddings: one tied matrix, or two."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    tied = head is None or head.weight is embedding
    expected = {"m": embedding} if tied else {"m/input": embedding, "m/output": head.weight}
    got = found(folder, name="m")
    assert got.keys() == expected.keys()
    for key, W in expected.items():
        assert got[key].dtype == W.dtype
        assert torch.equal(got[key], W)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoders_matrices_are_those_that_transformers_names(model_type: str, tied: bool, tmp_path: Path) -> None:
    check(tmp_path, save_model(tmp_path, AutoModelForCausalLM, model_type, tie_word_embeddings=tied, **SMALL))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("model_type", ENCODERS)
def test_an_encoders_matrices_with_its_head_are_too(model_type: str, tied: bool, tmp_path: Path) -> None:
    # ALBERT, ELECTRA and their like embed in fewer dimensions than they think in.
    config = {**SMALL, "embedding_size": 8, "tie_word_embeddings": tied}
    check(tmp_path, save_model(tmp_path, AutoModelForMaskedLM, model_type, **config))


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "albert", "electra", "modernbert", "gpt2"])
def test_a_model_without_a_head_has_one_matrix(model_type: str, tmp_path: Path) -> None:
    check(tmp_path, save_model(tmp_path, AutoModel, model_type, embedding_size=8, **SMALL))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("model_type", ["t5", "mt5", "bart", "mbart", "pegasus", "m2m_100"])
def test_an_encoder_decoders_are_too(model_type: str, tied: bool, tmp_path: Path) -> None:
    config = {**SMALL, **SMALL_SEQ2SEQ, "tie_word_embeddings": tied}
    check(tmp_path, save_model(tmp_path, AutoModelForSeq2SeqLM, model_type, **config))


@pytest.mark.parametrize(
    ("model_type", "text_type"),
    [("llava", "llama"), ("gemma3", "gemma3_text"), ("paligemma", "gemma"), ("mllama", "mllama_text_model")],
)
def test_a_model_that_sees_has_its_sizes_in_a_nested_configuration(
    model_type: str, text_type: str, tmp_path: Path
) -> None:
    # mllama's embedding has 8 rows more than vocab_size says.
    text = {**SMALL, "model_type": text_type}
    config = {"text_config": text, "vision_config": SMALL_VISION, "tie_word_embeddings": False}
    check(tmp_path, save_model(tmp_path, AutoModelForImageTextToText, model_type, **config))


def test_rembert_keeps_input_and_output_of_different_widths(tmp_path: Path) -> None:
    sizes = {**SMALL, "input_embedding_size": 8, "output_embedding_size": 20}
    check(tmp_path, save_model(tmp_path, AutoModelForMaskedLM, "rembert", tie_word_embeddings=False, **sizes))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_vectors_of_a_catalog_are_the_stored_values_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    model = save_model(tmp_path / "m", AutoModelForCausalLM, "qwen3", dtype, tie_word_embeddings=False, **SMALL)
    whole = load_file(tmp_path / "m" / WEIGHTS)
    limits = torch.finfo(dtype)
    # The largest and the least subnormal, on both sides of zero.
    whole[EMBEDDING][5, :3] = torch.tensor([limits.max, -limits.max, -0.0])
    whole[EMBEDDING][6, :2] = torch.tensor([limits.smallest_normal, -limits.smallest_normal]) * limits.eps
    save_file(whole, tmp_path / "m" / WEIGHTS)
    ingest(tmp_path / "catalog", str(tmp_path / "m"), SourceOptions(), with_tokenizer=False)
    for key, W in {"m/input": whole[EMBEDDING], "m/output": model.lm_head.weight}.items():
        stored = rows(tmp_path / "catalog", f"select vector from vectors where model = '{key}' order by token_id")
        assert torch.equal(
            torch.tensor([vector for (vector,) in stored]).view(torch.int32), W.float().view(torch.int32)
        )
    about = rows(
        tmp_path / "catalog", "select model, name, matrix, tensor, n_tokens, n_dims from models order by model"
    )
    assert about == [("m/input", "m", "input", EMBEDDING, 96, 16), ("m/output", "m", "output", UNEMBEDDING, 96, 16)]


@pytest.mark.parametrize("kept_as", ["bare", "folder"])
def test_a_matrix_stored_as_bits_has_the_very_tables_of_its_bf16_twin(tmp_path: Path, kept_as: str) -> None:
    """But for where it came from, and when."""
    W = matrix_of(3, (40, 8)).bfloat16()
    W[5], W[9] = W[4].clone(), -0.0
    W[11, 2], W[12, 3] = torch.nan, -torch.inf
    options: dict[str, Any] = {"bf16": {}, "bits": {"stored_as": "bf16"}}
    for name, stored in (("bf16", W), ("bits", W.view(torch.uint16))):
        source = tmp_path / name
        if kept_as == "bare":
            source = save_bare(tmp_path / name / "W.safetensors", stored)
        else:
            save_tensors(source, {EMBEDDING: stored})
        ingest(tmp_path / name / "c", str(source), SourceOptions("m", **options[name]), with_tokenizer=False)
    apart = {"models": "exclude (source, ingested_at)"}
    for table in TABLES:
        query = f"select * {apart.get(table.name, '')} from {table.name} order by all"
        twin, bits = (rows(tmp_path / name / "c", query) for name in ("bf16", "bits"))
        assert repr(bits) == repr(twin), table.name
        assert bits or table in ASKED_FOR or table == COMPONENT_DIAMETERS
    (about,) = rows(tmp_path / "bits" / "c", "select dtype, tensor_sha256 from models")
    assert about == ("bf16", hashlib.sha256(W.view(torch.uint8).numpy().tobytes()).hexdigest())


def test_of_shards_only_those_with_a_matrix_need_be_there(tmp_path: Path) -> None:
    model = save_model(tmp_path, AutoModelForCausalLM, "llama", tie_word_embeddings=False, **SMALL)
    (tmp_path / WEIGHTS).unlink()
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    files = json.loads((tmp_path / INDEX).read_text())["weight_map"]
    assert len(set(files.values())) > 2
    for shard in set(files.values()) - {files[EMBEDDING], files[UNEMBEDDING]}:
        (tmp_path / shard).unlink()
    check(tmp_path, model)
    (tmp_path / files[UNEMBEDDING]).unlink()
    with pytest.raises(CatalogError, match=rf"{files[UNEMBEDDING]}: the shard with 'lm_head.weight' isn't there"):
        found(tmp_path)


def test_a_shard_named_outside_the_folder_is_looked_for_inside(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path / "m", {EMBEDDING: matrix_of(1)})
    (folder / WEIGHTS).rename(tmp_path / "secret.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {EMBEDDING: "../secret.safetensors"}}))
    with pytest.raises(CatalogError, match=r"m/secret.safetensors: the shard"):
        found(folder)


@pytest.mark.parametrize("extra", [0.0, float("nan")], ids=["finite", "with a NaN"])
def test_a_matrix_stored_twice_is_tied(extra: float, tmp_path: Path) -> None:
    W = matrix_of(1)
    W[3, 3] += extra
    folder = save_tensors(tmp_path, {EMBEDDING: W, UNEMBEDDING: W.clone()})
    assert list(found(folder, name="m")) == ["m"]
    assert resolve_source(str(folder), SourceOptions(name="m")).matrices["m"][0] == "tied"


def test_matrices_that_differ_by_a_sign_of_zero_are_two_whatever_the_configuration_says(tmp_path: Path) -> None:
    W = matrix_of(1)
    W[39, 7] = 0.0
    other = W.clone()
    other[39, 7] = -0.0
    source = resolve_source(
        str(save_tensors(tmp_path, {EMBEDDING: W, UNEMBEDDING: other}, tie_word_embeddings=True)),
        SourceOptions(name="m"),
    )
    assert list(source.matrices) == ["m/input", "m/output"]
    assert source.warnings == [
        "config.json says the embeddings are tied, but the two stored matrices differ: both are catalogued"
    ]


def test_matrix_chooses_one_of_two(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path, {EMBEDDING: matrix_of(1), UNEMBEDDING: matrix_of(2)})
    for matrix, seed in (("input", 1), ("output", 2)):
        assert torch.equal(found(folder, name="m", matrix=matrix)[f"m/{matrix}"], matrix_of(seed))
    assert list(found(folder, name="m", matrix="both")) == ["m/input", "m/output"]
    with pytest.raises(CatalogError, match="`matrix=inptu`: unknown; one of input, output, both"):
        found(folder, matrix="inptu")


def test_matrix_changes_nothing_for_a_tied_model(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path, {EMBEDDING: matrix_of(1)})
    for matrix in ("input", "output", "both"):
        assert list(found(folder, name="m", matrix=matrix)) == ["m"]


def test_a_name_without_the_shape_is_no_embedding(tmp_path: Path) -> None:
    decoys = {"vision.embed_tokens.weight": matrix_of(2, (39, 8)), "head.weight": matrix_of(3, (5, 8))}
    decoys |= {"embed_tokens.weight": matrix_of(4, (40, 9)), "x.lm_head.weight": torch.zeros(40)}
    folder = save_tensors(tmp_path, {**decoys, "language_model.model.embed_tokens.weight": matrix_of(1)})
    assert torch.equal(found(folder, name="m")["m"], matrix_of(1))


def test_the_exact_shape_comes_before_a_padded_one(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path, {EMBEDDING: matrix_of(1, (64, 8))})
    assert found(folder, name="m")["m"].shape == (64, 8)
    save_tensors(folder, {"embed_tokens.weight": matrix_of(1, (64, 8)), "text.embed_tokens.weight": matrix_of(2)})
    assert torch.equal(found(folder, name="m")["m"], matrix_of(2))


def test_a_head_alone_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path, {"model.odd.weight": matrix_of(1), UNEMBEDDING: matrix_of(2)})
    with pytest.raises(
        CatalogError, match=r"no tensor has an input matrix's name .* 'lm_head.weight', 'model.odd.weight'"
    ):
        found(folder)
    assert list(found(folder, name="m", matrix="output")) == ["m/output"]
    save_tensors(folder, {UNEMBEDDING: matrix_of(2)}, tie_word_embeddings=True)
    assert list(found(folder, name="m")) == ["m"]


def test_tensor_is_the_way_out(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path, {"odd": matrix_of(1), EMBEDDING: matrix_of(2)})
    (folder / "config.json").unlink()
    with pytest.raises(
        CatalogError, match=r"has no config.json, so nothing says which tensor is W; name it with `tensor=`"
    ):
        found(folder)
    assert torch.equal(found(folder, name="m", tensor="odd")["m"], matrix_of(1))
    assert torch.equal(found(folder, name="m", tensor="odd", matrix="output")["m/output"], matrix_of(1))


def test_a_bare_matrix_is_named_by_its_folder_or_its_file(tmp_path: Path) -> None:
    save_bare(tmp_path / "Qwen3-4B" / "W.safetensors", matrix_of(1))
    save_bare(tmp_path / "Qwen3-4B" / "other.safetensors", matrix_of(2))
    assert torch.equal(found(tmp_path / "Qwen3-4B" / "W.safetensors")["Qwen3-4B"], matrix_of(1))
    assert torch.equal(found(tmp_path / "Qwen3-4B" / "other.safetensors")["other"], matrix_of(2))
    cached = save_tensors(tmp_path / "models--org--Name" / "snapshots" / "0a1b", {EMBEDDING: matrix_of(1)})
    assert list(found(cached)) == ["Name"]


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_bare_matrix_takes_the_tokenizer_it_is_given(named: str, tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "t", 40)
    bare = save_bare(tmp_path / "m" / "W.safetensors", matrix_of(1))
    tokenizer = tmp_path / "t" if named == "folder" else tmp_path / "t" / "tokenizer.json"
    ingest(tmp_path / "catalog", str(bare), SourceOptions(tokenizer=str(tokenizer)))
    assert rows(tmp_path / "catalog", "select text from tokens where token_id = 39") == [("w39",)]
