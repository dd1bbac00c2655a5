-- lattice_steps_asked: a number of lattice steps, as INTEGER, or an error where it is
-- none; 65278 are from the least bfloat16 to the greatest.
create macro lattice_steps_asked(most_steps) as (
    with asked as (
        select most_steps::double as n_steps
    )

    select
        case
            when n_steps >= 0 and n_steps <= 65278 and n_steps = floor(n_steps)
                then n_steps::integer
            else
                error(
                    coalesce(n_steps::varchar, 'NULL')
                    || ' is no number of lattice steps; give a whole one from 0 to'
                    || ' 65278'
                )
        end
    from asked
);

comment on macro lattice_steps_asked is
'a number of lattice steps (a whole one from 0 to 65278), or an error';
