-- cosine_of_pair: the cosine of two rows, given their norms, from -1 to 1; NULL where a
-- norm is 0. Within (n_dims + 8) * 2^-52 of the exact one.
-- noqa: disable=LT02
create macro cosine_of_pair(own_numbers, own_norm, other_numbers, other_norm) as
    case
        when own_norm * other_norm > 0 then
            greatest(
                least(
                    list_inner_product(own_numbers, other_numbers)
                    / (own_norm * other_norm),
                    1.0::double
                ),
                -1.0::double
            )
    end;

comment on macro cosine_of_pair is
'the cosine of two DOUBLE[] of one length, given their norms; NULL where one is 0';
