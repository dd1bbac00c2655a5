-- Which dimensions of W vary the most, and the least?
-- Asked by 01.2a_basic_geometric_properties (box 1), with n - 1 below: the variance of
-- each dimension over all tokens.
select
    d.dim,
    round(d.mean, 6) as mean,
    round(pow(d.std, 2) * m.n_tokens / (m.n_tokens - 1), 8) as variance
from dimensions as d
inner join models as m on d.model = m.model
qualify
    row_number() over (order by d.std) <= 3
    or row_number() over (order by d.std desc) <= 3
order by variance desc;
