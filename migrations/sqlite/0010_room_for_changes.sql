-- Nothing: SQLite changes rows in their place. The step is there so that both stores count
-- the same steps.
SELECT 1;
