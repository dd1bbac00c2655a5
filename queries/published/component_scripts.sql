-- DuckDB has no names of characters: these ranges' begin with these words, and other
-- characters go by their own number (from U+0100 on, by those of the 256 beside them).
with named (script, first_code, last_code) as (
    values
    ('ARABIC', '00606', '006FF'), ('ARABIC', '00750', '0077F'),
    ('ARABIC', '00870', '008FF'), ('ARABIC', '0FB50', '0FD3D'),
    ('ARABIC', '0FD50', '0FDFF'), ('ARABIC', '0FE70', '0FEFC'),
    ('CJK', '02E80', '02EF3'), ('CJK', '031C0', '031E5'), ('CJK', '03400', '04DBF'),
    ('CJK', '04E00', '09FFF'), ('CJK', '0F900', '0FAD9'), ('CJK', '20000', '323AF'),
    ('GREEK', '00370', '003E1'), ('GREEK', '003F0', '003FF'),
    ('GREEK', '01F00', '01FFE'), ('HEBREW', '00591', '005F4'),
    ('HEBREW', '0FB1D', '0FB4F'), ('LATIN', '00041', '0005A'),
    ('LATIN', '00061', '0007A'), ('LATIN', '000C0', '000D6'),
    ('LATIN', '000D8', '000F6'), ('LATIN', '000F8', '002AF'),
    ('LATIN', '01D00', '01D25'), ('LATIN', '01E00', '01EFF'),
    ('LATIN', '0FB00', '0FB06'), ('REPLACEMENT', '0FFFD', '0FFFD'),
    ('THAI', '00E01', '00E5B')
),

-- A byte that begins a character takes along as many more as that may have.
spelt as (
    select
        t.token_id,
        regexp_extract_all(
            hex(t.bytes), '[CD].([89AB].)?|E.([89AB].){0,2}|F.([89AB].){0,3}|..'
        ) as digits
    from cluster_members as c
    inner join tokens as t on c.model = t.model and c.token_id = t.token_id
    where c.cluster = 'largest-component'
),

-- Bytes that are no whole character decode to U+FFFD.
characters as (
    select
        token_id,
        unnest(
            list_transform(
                digits, lambda byte: coalesce(try(decode(unhex(byte))), '�')
            )
        ) as character,
        generate_subscripts(digits, 1) as place
    from spelt
),

coded as (
    select
        token_id,
        place,
        printf('%05X', unicode(character)) as code
    from characters
    where not regexp_matches(character, '[\p{C}\p{Z}]')
),

worded as (
    select
        c.token_id,
        c.place,
        coalesce(n.script, left(c.code, if(c.code < '00100', 5, 3))) as word
    from coded as c
    left join named as n on c.code between n.first_code and n.last_code
),

counted as (
    select
        token_id,
        word,
        count(*) as n_characters,
        min(place) as place
    from worded
    group by token_id, word
),

sorted as (
    select
        s.token_id,
        coalesce(
            first(c.word order by c.n_characters desc, c.place asc), 'Empty/Whitespace'
        ) as script
    from spelt as s
    left join counted as c on s.token_id = c.token_id
    group by s.token_id
),

ranked as (
    select
        script,
        count(*) as n_tokens
    from sorted
    group by script
    order by n_tokens desc, script asc
    limit 8
)

select
    string_agg(script || ':' || n_tokens, ' ' order by n_tokens desc, script asc)
        as scripts
from ranked;
