-- name_of_cluster: the grammar of clusters' names. Names in a recipe have no colon:
-- REF:dot-mode has its kind after it, component:124 before it, and none is both.
-- noqa: disable=LT02
create macro name_of_cluster(cluster_kind, made_of) as
    case
        when cluster_kind in ('cosine-mode', 'dot-mode', 'dot-self')
            then made_of || ':' || cluster_kind
        when cluster_kind in ('component', 'duplicate')
            then cluster_kind || ':' || made_of
        when cluster_kind = 'largest-component' then cluster_kind
        when cluster_kind = 'recipe' then made_of
    end;

comment on macro name_of_cluster is
'the name of a cluster of a kind: REF:dot-mode of a reference, component:124 of a lowest
token_id; a recipe''s own name';
