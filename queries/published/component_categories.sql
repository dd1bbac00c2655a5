-- By the bytes, in hexadecimal: parts of characters aren't UTF-8, but decode to
-- U+FFFD, and what is whole beside them to what it is. E0B8, E0B9 begin the Thai
-- characters, E4B8 to E9BF those from U+4E00 to U+9FFF; no other byte is as large.
with spelt as (
    select
        hex(t.bytes) as digits,
        coalesce(t.text, '-') as text
    from tokens as t
    inner join cluster_members as c
        on
            t.model = c.model
            and t.token_id = c.token_id
            and c.cluster = 'largest-component'
),

sorted as (
    select
        case
            when
                digits is null
                or regexp_full_match(text, '[\t-\r\x1c-\x20\x{85}\p{Z}]*')
                then 'empty'
            when regexp_full_match(digits, '([0-7].)*') then 'ascii'
            when regexp_matches(digits, '^(..)*E0B[89][89AB]') then 'thai'
            when
                regexp_matches(
                    digits, '^(..)*(E4B[89A-F]|E[5-9][89AB].)[89AB]'
                )
                then 'cjk'
            else 'other'
        end as category
    from spelt
)

select
    [
        count(*) filter (where category = 'ascii'),
        count(*) filter (where category = 'cjk'),
        count(*) filter (where category = 'empty'),
        count(*) filter (where category = 'other'),
        count(*) filter (where category = 'thai')
    ] as n_tokens
from sorted;
