-- steps_apart: how far two rows are apart on the lattice, by coordinates that
-- lattice_of gave: {linf, l1}. NULL where one is NULL.
-- noqa: disable=LT02
create macro steps_apart(places_a, places_b) as
    list_transform(
        [
            case
                when len(places_a) = len(places_b)
                    then
                        list_transform(
                            list_zip(places_a, places_b),
                            lambda pair: abs(pair[1]::integer - pair[2]::integer)
                        )
                when places_a is null or places_b is null then null
                else
                    error(
                        'rows of ' || len(places_a) || ' and ' || len(places_b)
                        || ' values can''t be compared value by value'
                    )
            end
        ],
        lambda apart: case
            when apart is not null
                then
                    struct_pack(
                        linf := coalesce(list_max(apart), 0)::integer,
                        l1 := coalesce(list_sum(apart), 0)::bigint
                    )
        end
    )[1];

comment on macro steps_apart is
'{linf, l1} of two lists of whole numbers: the largest difference of two values, and the
sum of all; NULL where a list is';
