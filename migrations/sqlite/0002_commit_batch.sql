-- Nothing: SQLite runs inside the program, which sends it the statements of a
-- batch itself. The step is there so that both stores count the same steps.
SELECT 1;
