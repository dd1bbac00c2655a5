-- Is there a jet, a lobe of tokens off the mean in PC4 and PC5?
-- Asked by 03.1a_identify_jet (box 1), which counted those with PC4 > 0.1 and
-- PC5 < -0.05: here in each of four such corners, as signs of PCs are a convention.
with centred as (
    select
        pcs[4] - avg(pcs[4]) over () as pc4,
        pcs[5] - avg(pcs[5]) over () as pc5
    from features
)

select
    sign(pc4)::integer as side_of_pc4,
    sign(pc5)::integer as side_of_pc5,
    count(*) as n_tokens
from centred
where abs(pc4) > 0.1 and abs(pc5) > 0.05
group by side_of_pc4, side_of_pc5
order by n_tokens desc;
