-- How far a source has come, by partition: everything up to `number` was accepted. One row a partition, however many
-- messages it had.

CREATE TABLE positions (
  scope INTEGER NOT NULL, -- the stream of the source's flow
  partition TEXT NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL, -- when it last went up
  passing INTEGER NOT NULL, -- 1: the partition comes to an end (a file), and its row may go when the dedupe window is over
  PRIMARY KEY (scope, partition)
) WITHOUT ROWID;
CREATE INDEX positions_passing ON positions (at) WHERE passing = 1;
