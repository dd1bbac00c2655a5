-- The nearest vectors to [unused500]: a cluster of tokens that nothing ever moved.
select
    token_id,
    text,
    round(distance, 4) as distance
from nearest(505, 5);
