-- duckdb -readonly -init <catalog>/open.sql <catalog>/catalog.duckdb
-- Points the views at the Parquet files beside the database that was opened, wherever the folder is now.
set variable catalog_root = (
    select regexp_replace(path, '(/generations/[^/]+)?/[^/]+$', '')
    from duckdb_databases()
    where database_name = current_database()
);
