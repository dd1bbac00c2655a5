-- Rows of W that are equal, value by value, in groups of two or more.
select
    count(*) as duplicate_groups,
    coalesce(sum(n_tokens), 0) as tokens_in_them
from duplicate_groups;
