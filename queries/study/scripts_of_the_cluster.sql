-- What are the component's tokens, as text?
-- Asked by 1.8c_tokenizer_reachability (box 2), in this order: nothing to see (the rows
-- past the tokenizer's entries are among them), plain ASCII, Thai, Chinese characters.
select
    case
        when kind = 'missing' or regexp_full_match(text, '\s*') then 'empty'
        when regexp_full_match(text, '[\x00-\x7F]*') then 'ASCII'
        when regexp_matches(text, '[\x{0E00}-\x{0E7F}]') then 'Thai'
        when regexp_matches(text, '[\x{4E00}-\x{9FFF}]') then 'Chinese'
        else 'other'
    end as category,
    count(*) as n_tokens
from members('largest-component')
group by category
order by n_tokens desc;
