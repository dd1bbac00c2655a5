-- files_of_model: the Parquet file of a table that has one model's rows, whatever is in
-- view; the one without rows, where there is none, or no model is given. So a question
-- about two models opens the files of these. The model is a constant: DuckDB wants to
-- know files beforehand.
-- noqa: disable=LT02
create macro files_of_model(model_key, table_name) as
    files_of(
        'model:' || coalesce(model_key, ''),
        table_name,
        -- The letter that the contents have for a table, by its place.
        substr(
            'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ',
            list_position(table_names(), table_name),
            1
        )
    );

comment on macro files_of_model is
'the Parquet files of a table that have rows of a model, given as a constant';
