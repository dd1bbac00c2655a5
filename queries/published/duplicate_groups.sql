-- duplicate_groups: groups of two or more equal rows (Azimuth II 06.1h).
select count(*) as n_groups
from duplicate_groups;
