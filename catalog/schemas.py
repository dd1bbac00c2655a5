"""Every table of the catalog: its grain, its columns, their types, units and meaning.

Parquet files are written with these schemas, and the comments are what `from help` shows in the shell.
"""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column: its Arrow type, and what a value means.

    `otherwise` is SQL for the value in files written before the column was, in terms of the table, called `stored`, and
    of the views of tables before it; without it, the value is NULL there.
    """

    name: str
    type: pa.DataType
    comment: str
    otherwise: str = ""


@dataclass(frozen=True)
class Table:
    """A table: one Parquet file for each version of a model, one view in the database."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def file_name(self) -> str:
        """The table's file in a version folder."""
        return f"{self.name}.parquet"

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of the Parquet file."""
        return pa.schema([(column.name, column.type) for column in self.columns])


_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us"): "TIMESTAMP",
}


def sql_type(type_: pa.DataType) -> str:
    """Return DuckDB's name of an Arrow type.

    >>> sql_type(pa.list_(pa.float32()))
    'FLOAT[]'
    """
    if pa.types.is_list(type_):
        return f"{_SQL_TYPES[type_.value_type]}[]"
    return _SQL_TYPES[type_]


MODEL = Column("model", pa.string(), "the catalogued matrix: NAME, or NAME/input and NAME/output where untied")
TOKEN_ID = Column("token_id", pa.int32(), "row of W, from 0; (model, token_id) joins everything")

MODELS = Table(
    "models",
    "One row per catalogued matrix: where it came from and how it was ingested.",
    (
        MODEL,
        Column("name", pa.string(), "the model's name; an untied model's two matrices share it"),
        Column("source", pa.string(), "Hugging Face id, or absolute path, that was ingested"),
        Column("revision", pa.string(), "commit of a Hugging Face source, else NULL"),
        Column("tensor", pa.string(), "name of the tensor in its safetensors file"),
        Column("matrix", pa.string(), "tied, input (embedding) or output (unembedding); NULL for a bare W"),
        Column("series", pa.string(), "the run whose matrices belong together, such as its checkpoints; NULL for none"),
        Column("step", pa.int64(), "place in the series: the training step; NULL outside one"),
        Column("role", pa.string(), "what the matrix is in its series, such as m, v or grad; NULL for the weights"),
        Column("dtype", pa.string(), "storage type of W: bf16, fp16 or fp32"),
        Column("n_tokens", pa.int32(), "rows of W"),
        Column("n_dims", pa.int32(), "columns of W"),
        Column("n_vocab", pa.int32(), "entries of the tokenizer (0 without one)"),
        Column("n_nonfinite", pa.int32(), "rows with a NaN or an infinity: their features are NULL"),
        Column("tensor_sha256", pa.string(), "SHA-256 of the tensor's stored bytes (row-major, little-endian)"),
        Column(
            "north_pc",
            pa.int32(),
            "principal component that points to latitude +90° (negative: flipped); in a series that shares a sky, of "
            "series_frames.frame_of",
        ),
        Column("meridian_pc", pa.int32(), "principal component at latitude 0°, longitude 0° (negative: flipped)"),
        Column("equinox_pc", pa.int32(), "principal component at latitude 0°, longitude +90° (negative: flipped)"),
        Column("causal_epsilon", pa.float64(), "ε of features.causal_norm; NULL where the recipe has no [causal]"),
        Column(
            "causal_condition_number", pa.float64(), "(λ₁ + ε) / (λ_least + ε), of C + εI; NULL where causal_epsilon is"
        ),
        Column("linkage_radius", pa.float64(), "distance up to which tokens are linked: components are known to there"),
        Column("linkage_threshold", pa.float64(), "distance at which features.component is told"),
        Column("linkage_rule", pa.string(), "how the radius and the threshold were chosen"),
        Column(
            "lattice_most_steps",
            pa.int32(),
            "lattice steps up to which tokens are linked in lattice; NULL unless dtype is bf16",
        ),
        Column("recipe", pa.string(), "the recipe in force, as JSON"),
        Column("device", pa.string(), "where the fp64 arithmetic ran"),
        Column("torch_version", pa.string(), "version of torch that computed the features"),
        Column("catalog_version", pa.string(), "version of token-catalog that wrote this"),
        Column("ingested_at", pa.timestamp("us"), "when the ingest ended, UTC"),
    ),
)

TOKENS = Table(
    "tokens",
    "One row per row of W: what the tokenizer says of it.",
    (
        MODEL,
        TOKEN_ID,
        Column("piece", pa.string(), "the entry as the tokenizer spells it (Ġ or ▁ for a space, ## for a suffix)"),
        Column("bytes", pa.binary(), "the bytes the token stands for"),
        Column("text", pa.string(), "the bytes as UTF-8; NULL where they aren't UTF-8 by themselves"),
        Column(
            "kind",
            pa.string(),
            "normal, byte (one byte, UTF-8 by itself), fragment (part of some UTF-8), impossible (of none), "
            "special, added, unused (a reserved name), missing (no tokenizer entry)",
        ),
        Column("is_special", pa.bool_(), "whether the tokenizer calls it a special token"),
        Column("n_bytes", pa.int32(), "length of bytes"),
        Column("n_chars", pa.int32(), "length of text, in code points; NULL where text is"),
        Column("starts_with_space", pa.bool_(), "whether the bytes begin with a space (WordPiece keeps none)"),
        Column(
            "roundtrips",
            pa.bool_(),
            "whether encode(decode([token_id])) = [token_id], no special tokens added; NULL where missing",
        ),
    ),
)

FEATURES = Table(
    "features",
    "One row per row of W: length, place on the sky, duplicates, linkage. NULL where the row isn't finite.",
    (
        MODEL,
        TOKEN_ID,
        Column("norm", pa.float64(), "L2 norm of the row as stored, in fp64"),
        Column("norm_bf16", pa.float32(), "the bf16 nearest to the exact L2 norm of the row rounded to bf16"),
        Column(
            "centred_norm",
            pa.float64(),
            "Euclidean distance of the row as stored from the mean of W's finite rows, in fp64; NULL where the version "
            "is from before it was computed",
        ),
        Column("x", pa.float64(), "row · meridian axis (uncentred)"),
        Column("y", pa.float64(), "row · equinox axis (uncentred)"),
        Column("z", pa.float64(), "row · north axis (uncentred)"),
        Column("radius", pa.float64(), "√(x² + y² + z²)"),
        Column("lat", pa.float64(), "latitude in degrees, asin(z / radius); NULL at radius 0"),
        Column("lon", pa.float64(), "longitude in degrees, atan2(y, x); NULL at radius 0"),
        Column(
            "pcs",
            pa.list_(pa.float64()),
            "uncentred projections on PC1..PC8, or as many as the recipe's [pca] keep says",
        ),
        Column("duplicate_of", pa.int32(), "lowest token_id with an equal row (its own where alone)"),
        Column("duplicate_count", pa.int32(), "rows equal to this one, itself included"),
        Column("component", pa.int32(), "lowest token_id of the component at distances < models.linkage_threshold"),
        Column("component_size", pa.int32(), "tokens in that component"),
        Column("n_neighbors", pa.int32(), "other tokens at distances < models.linkage_threshold, duplicates too"),
        Column(
            "nn_distance",
            pa.float64(),
            "Euclidean distance to the nearest different row; NULL where none is < models.linkage_radius",
        ),
        Column("nn_token_id", pa.int32(), "that row's lowest token_id; NULL where nn_distance is"),
        Column("linkage_order", pa.int32(), "place, from 0, among the leaves of the single-linkage dendrogram"),
        Column(
            "linkage_distance",
            pa.float64(),
            "distance at which the token merges with those before it in linkage_order (its nearest may come after: see "
            "nn_distance): 0 for a duplicate; NULL for the first, and where it isn't < models.linkage_radius",
        ),
        Column(
            "causal_norm",
            pa.float64(),
            "√((w-μ)ᵀ(C+εI)⁻¹(w-μ)), ε as models.causal_epsilon; NULL where the recipe has no [causal]",
        ),
    ),
)

COMPONENT_DIAMETERS = Table(
    "component_diameters",
    "One row per component at the threshold, of 2 tokens or more.",
    (
        MODEL,
        Column("component", pa.int32(), "lowest token_id of the component"),
        Column("diameter", pa.float64(), "largest distance between two of its rows; NULL past 5,000 different rows"),
    ),
)

LATTICE = Table(
    "lattice",
    "One row per row of W, of models stored in bf16: single linkage by steps on the bf16 lattice, the largest over the "
    "dimensions. NULL where the row isn't finite.",
    (
        MODEL,
        TOKEN_ID,
        Column("lattice_order", pa.int32(), "place, from 0, among the leaves of the dendrogram"),
        Column(
            "lattice_steps",
            pa.int32(),
            "lattice steps at which the token merges with those before it in lattice_order: 0 for a duplicate; NULL "
            "for the first, and where it isn't <= models.lattice_most_steps",
        ),
    ),
)

PRINCIPAL_COMPONENTS = Table(
    "principal_components",
    "One row per principal component of W's finite rows (covariance 1/N, centred).",
    (
        MODEL,
        Column("pc", pa.int32(), "from 1, by descending eigenvalue"),
        Column("eigenvalue", pa.float64(), "variance along the component"),
        Column("variance_share", pa.float64(), "eigenvalue / the sum of all eigenvalues"),
        Column(
            "vector",
            pa.list_(pa.float64()),
            "unit vector, on the mean's side (mean · vector >= 0), or as the recipe's orient says",
        ),
        Column("mean_projection", pa.float64(), "mean of W's finite rows · vector: features.pcs less this is centred"),
    ),
)

DIMENSIONS = Table(
    "dimensions",
    "One row per column of W: the values that its finite rows have there. -0.0 is 0.0.",
    (
        MODEL,
        Column("dim", pa.int32(), "column of W, from 0"),
        Column("least", pa.float64(), "the least value, as stored"),
        Column("most", pa.float64(), "the most, as stored"),
        Column("mean", pa.float64(), "mean of the values, in fp64"),
        Column("std", pa.float64(), "standard deviation of the values (1/N, as the PCA), in fp64"),
        Column("n_values", pa.int32(), "different values"),
        Column("n_lattice", pa.int32(), "different points of the bf16 lattice among them; NULL unless dtype is bf16"),
        Column("extent_steps", pa.int32(), "lattice steps from least to most; NULL unless dtype is bf16"),
    ),
)

REFERENCE = Column("reference", pa.string(), "the reference vector's name in the recipe")

REFERENCE_VECTORS = Table(
    "reference_vectors",
    "One row per reference: a vector h that W is seen from.",
    (
        MODEL,
        REFERENCE,
        Column("kind", pa.string(), "sky, centroid, first_in_box, token, text, pc, mean or vector"),
        Column("recipe", pa.string(), "how it was asked for, as JSON"),
        Column(
            "token_id",
            pa.int32(),
            "the token whose row h is, where kind is token, text or first_in_box (before scale); else NULL",
            # As ingest resolves them: of several tokens of a text, the one that it is tokenized to.
            otherwise="""
                case stored.kind
                    when 'token' then (stored.recipe ->> '$.token')::integer
                    when 'text' then (
                        select arg_max(t.token_id, coalesce(t.roundtrips, false))
                        from tokens as t
                        where t.model = stored.model and t.text = stored.recipe ->> '$.text'
                    )
                    when 'first_in_box' then (
                        select min(f.token_id)
                        from (
                            select
                                (stored.recipe ->> '$.first_in_box.lat')::double as at_lat,
                                (stored.recipe ->> '$.first_in_box.lon')::double as at_lon,
                                (stored.recipe ->> '$.first_in_box.diameter')::double / 2 as half_width
                        ) as box
                        inner join features as f
                            on
                                f.model = stored.model
                                and f.lat between box.at_lat - box.half_width and box.at_lat + box.half_width
                                and f.lon between box.at_lon - box.half_width and box.at_lon + box.half_width
                    )
                end
            """,
        ),
        Column("vector", pa.list_(pa.float32()), "h; centroids and means are the fp32 nearest to the exact ones"),
        Column("norm", pa.float64(), "L2 norm of h16, which is h rounded to bf16"),
        Column("self_dot_bf16", pa.float32(), "the bf16 nearest to the exact h16 · h16"),
        Column("device", pa.string(), "where scores.dot_native and cosine_native were computed"),
        Column("torch_version", pa.string(), "version of torch that computed them"),
    ),
)

SCORES = Table(
    "scores",
    "One row per reference and row of W: how W is seen from it. NULL where the row isn't finite.",
    (
        MODEL,
        REFERENCE,
        TOKEN_ID,
        Column("dot", pa.float64(), "row · h, both rounded to bf16, in fp64"),
        Column("dot_bf16", pa.float32(), "the bf16 nearest to the exact dot product: the logit"),
        Column("cosine", pa.float64(), "dot / (the two norms), in fp64; NULL where the row is zero"),
        Column(
            "cosine_bf16",
            pa.float32(),
            "notebook 1.4a's: bf16(sum of u · r16), with u = bf16(row / norm_bf16) and r16 = bf16(h / norm of h) by "
            "element, each step the bf16 nearest to the exact value; NULL where the row is zero",
        ),
        Column("dot_native", pa.float32(), "torch's own bf16 product on reference_vectors.device, by notebook 1.5c"),
        Column("cosine_native", pa.float32(), "torch's own bf16 cosine there, by notebook 1.4a"),
        Column(
            "distance",
            pa.float64(),
            "Euclidean distance of the row as stored from h, within 1e-12 of the exact one, relatively: 0 for h "
            "itself; NULL for a reference scored before it was computed, till that is added again in its own place",
        ),
    ),
)

RECIPE_CLUSTERS = Table(
    "recipe_clusters",
    "One row per cluster of the recipe and token in it.",
    (
        MODEL,
        Column("cluster", pa.string(), "the cluster's name in the recipe"),
        TOKEN_ID,
        Column(
            "definition", pa.string(), "the condition that the token met, or the file that names it, with its SHA-256"
        ),
    ),
)

FRAME = Column("frame", pa.string(), "the frame's name in the recipe, or spectrum:CLUSTER")

FRAME_AXES = Table(
    "frame_axes",
    "One row per frame but the default one: its origin and axes, as they were found.",
    (
        MODEL,
        FRAME,
        Column("definition", pa.string(), "how it was asked for, as JSON"),
        Column("origin", pa.list_(pa.float64()), "what is taken from a row before it is projected"),
        Column("x_axis", pa.list_(pa.float64()), "unit vector: latitude 0°, longitude 0°"),
        Column("y_axis", pa.list_(pa.float64()), "unit vector: latitude 0°, longitude +90°"),
        Column("z_axis", pa.list_(pa.float64()), "unit vector: latitude +90°"),
        Column("x_asked", pa.list_(pa.float64()), "the x axis as asked for, of length 1, before orthonormalisation"),
        Column("y_asked", pa.list_(pa.float64()), "the y axis so; y_axis is what x_axis leaves of it"),
        Column("z_asked", pa.list_(pa.float64()), "the z axis so; z_axis is what x_axis and y_axis leave of it"),
    ),
)

FRAME_PLACES = Table(
    "frame_places",
    "One row per frame but the default one, and row of W: its place there. NULL where the row isn't finite.",
    (
        MODEL,
        FRAME,
        TOKEN_ID,
        Column("x", pa.float64(), "(row - origin) · x_axis"),
        Column("y", pa.float64(), "(row - origin) · y_axis"),
        Column("z", pa.float64(), "(row - origin) · z_axis"),
        Column("radius", pa.float64(), "√(x² + y² + z²)"),
        Column("lat", pa.float64(), "latitude in degrees, asin(z / radius); NULL at radius 0"),
        Column("lon", pa.float64(), "longitude in degrees, atan2(y, x); NULL at radius 0"),
    ),
)

SPECTRUM_KEYS = (
    MODEL,
    Column("cluster", pa.string(), "the cluster's name; from clusters lists the names"),
    Column("weighting", pa.string(), "tokens, each counted once; or vectors, equal rows counted once"),
)

SPECTRA = Table(
    "spectra",
    "One row per spectrum of a cluster: how many directions its rows spread in (covariance 1/N, about their own mean).",
    (
        *SPECTRUM_KEYS,
        Column("n_tokens", pa.int32(), "tokens of the cluster whose rows are finite"),
        Column("n_vectors", pa.int32(), "different rows among them"),
        Column("total_variance", pa.float64(), "sum of the eigenvalues"),
        Column("participation_ratio", pa.float64(), "(Σλ)² / Σλ²: in how many directions it would be the same in each"),
        Column("rank", pa.int32(), "eigenvalues > rank_tolerance"),
        Column("rank_tolerance", pa.float64(), "λ₁ · max(n_vectors, n_dims) · 2⁻⁵²"),
    ),
)

SPECTRUM_COMPONENTS = Table(
    "spectrum_components",
    "One row per spectrum and principal component: min(n_vectors, n_dims) of them; all further eigenvalues are 0.",
    (
        *SPECTRUM_KEYS,
        Column("pc", pa.int32(), "from 1, by descending eigenvalue"),
        Column("eigenvalue", pa.float64(), "variance of the cluster's rows along the component"),
        Column("variance_share", pa.float64(), "eigenvalue / the sum of all eigenvalues"),
        Column(
            "vector",
            pa.list_(pa.float64()),
            "unit vector, on the side of the rows' mean; arbitrary where the eigenvalue is 0 but for rounding",
        ),
    ),
)

SERIES_FRAMES = Table(
    "series_frames",
    "One row per matrix whose sky is its series': the axes of features.x, y and z, another step's components.",
    (
        MODEL,
        Column("frame_of", pa.string(), "the model whose principal components they are"),
        Column("meridian", pa.list_(pa.float64()), "unit vector: latitude 0°, longitude 0°"),
        Column("equinox", pa.list_(pa.float64()), "unit vector: latitude 0°, longitude +90°"),
        Column("north", pa.list_(pa.float64()), "unit vector: latitude +90°"),
    ),
)

ALIGNMENT_KEYS = (
    MODEL,
    Column("other", pa.string(), "the model that it was aligned with"),
)

ALIGNMENTS = Table(
    "alignments",
    "One row per model that this one was aligned with: the rotation that brings the rows of the tokens of both nearest "
    "(orthogonal Procrustes, of rows less their mean, without scaling; the narrower is turned into the wider).",
    (
        *ALIGNMENT_KEYS,
        Column("n_tokens", pa.int32(), "tokens that it was fitted to: of both, not ambiguous, with finite rows"),
        Column("n_dims", pa.int32(), "columns of W"),
        Column("other_n_dims", pa.int32(), "columns of the other W"),
        Column("residual", pa.float64(), "√Σ of the squared distances that are left between those tokens' rows"),
        Column(
            "relative_residual",
            pa.float64(),
            "residual / √Σ of the squared lengths of the rows that weren't turned, less their mean: the other's, or "
            "the wider's",
        ),
        Column("scale", pa.float64(), "by what the turned rows would be multiplied best; they aren't"),
        Column("other_tensor_sha256", pa.string(), "models.tensor_sha256 of the other, as it was"),
    ),
)

ALIGNED_TOKENS = Table(
    "aligned_tokens",
    "One row per model that this one was aligned with and token of both whose rows are finite, ambiguous ones too.",
    (
        *ALIGNMENT_KEYS,
        TOKEN_ID,
        Column("other_token_id", pa.int32(), "the token in the other model"),
        Column("fitted", pa.bool_(), "whether the rotation was fitted to it, too; not where ambiguous"),
        Column("distance", pa.float64(), "Euclidean distance of the two rows, less their means, after the rotation"),
        Column("cosine", pa.float64(), "cosine of those; NULL where one is zero"),
    ),
)

VECTORS = Table(
    "vectors",
    "One row per row of W: the stored values, exactly.",
    (
        MODEL,
        TOKEN_ID,
        Column("vector", pa.list_(pa.float32()), "the row as stored (bf16, fp16 and fp32 all fit FLOAT)"),
    ),
)

TABLES = (
    MODELS,
    TOKENS,
    FEATURES,
    PRINCIPAL_COMPONENTS,
    COMPONENT_DIAMETERS,
    LATTICE,
    DIMENSIONS,
    REFERENCE_VECTORS,
    SCORES,
    RECIPE_CLUSTERS,
    FRAME_AXES,
    FRAME_PLACES,
    SPECTRA,
    SPECTRUM_COMPONENTS,
    SERIES_FRAMES,
    ALIGNMENTS,
    ALIGNED_TOKENS,
    VECTORS,
)
