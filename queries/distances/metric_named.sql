-- metric_named: a metric of pairs; an error where there is none of that name.
-- noqa: disable=LT02
create macro metric_named(metric_name) as
    case
        when metric_name in ('euclidean', 'cosine', 'linf', 'l1') then metric_name
        else
            error(
                'metric: ' || coalesce('''' || metric_name || '''', 'NULL')
                || ' is none; one of euclidean, cosine, linf, l1'
            )
    end;

comment on macro metric_named is
'the metric itself: euclidean, cosine, linf or l1; else an error';
