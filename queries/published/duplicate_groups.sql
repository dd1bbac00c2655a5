select count(*) as n_groups
from duplicate_groups;
