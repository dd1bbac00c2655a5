-- How many tokens are how far from the largest group?
-- Asked by 06.1e_radial_density_analysis (box 1), and of the cluster by
-- qwen3/euclidean_shells (box 4): by powers of ten, those at 0 left out.
with apart as (
    from distances_to(centroid_of('duplicate:' || (
        select arg_max(duplicate_of, (n_tokens, -duplicate_of)) from duplicate_groups
    )))
)

select
    floor(log10(distance))::integer as power_of_ten,
    count(*) as n_tokens
from apart
where distance > 0
group by power_of_ten
order by power_of_ten;
