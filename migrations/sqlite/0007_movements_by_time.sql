-- What ListMovements needs to find movements by time: an index, which has the columns of the
-- primary key after the time and so is the list. An entry for each movement is dear on
-- PostgreSQL, where it is one more record of the log; here it goes to the end of a tree that
-- the one writer has in its cache, as do all entries of a batch.
CREATE INDEX movement_time_us ON movement (time_us);
