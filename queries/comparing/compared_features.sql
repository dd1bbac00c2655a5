-- compared_features: what compare_tokens tells of each side's tokens.
-- Grain: one row per token of the model.
-- noqa: disable=LT02
create macro compared_features(model_key) as table
select
    token_id,
    norm,
    centred_norm,
    radius,
    lat,
    lon,
    duplicate_of,
    duplicate_count,
    component,
    component_size
from
    -- The one without rows has every column, also those that older files lack.
    read_parquet(
        list_concat(
            files_of_model(model_key, 'features'), files_of_model(null, 'features')
        ),
        union_by_name = true,
        hive_partitioning = false
    )
where model = model_key;

comment on macro table compared_features is
'the features of one model that compare_tokens has of both';
