-- same_tensors: models that hold the very same matrix, by the SHA-256 of its bytes.
-- Grain: one row per tensor that two models or more hold, where one of them is in view.
create view same_tensors as
select
    tensor_sha256,
    count(*)::integer as n_models,
    list(model order by model) as models
from models
where tensor_sha256 is not null
group by tensor_sha256
having count(*) > 1 and bool_or(model_in_view(model))
order by models;

comment on view same_tensors is
'One row per tensor that two models or more hold, byte for byte.';
comment on column same_tensors.tensor_sha256 is
'the SHA-256 of its stored bytes, as in models';
comment on column same_tensors.n_models is 'how many hold it';
comment on column same_tensors.models is 'which, sorted';
