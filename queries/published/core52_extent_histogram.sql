with bits as (
    select
        unnest(bits_of(vector))::integer as pattern,
        generate_subscripts(vector, 1) as dim
    from neighborhood_vectors(0)
),

extents as (
    select max(pattern) - min(pattern) as extent
    from bits
    group by dim
),

counts as (
    select
        extent,
        count(*) as n_dims
    from extents
    group by extent
)

select string_agg(extent || ':' || n_dims, ' ' order by extent) as extents
from counts;
