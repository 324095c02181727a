-- Keys whose lanes stand still behind a message that failed, by the flow's poison policy.

CREATE TABLE parked (
  flow INTEGER NOT NULL,
  key TEXT NOT NULL,
  seq INTEGER NOT NULL, -- the message that failed
  at INTEGER NOT NULL,
  strict INTEGER NOT NULL, -- 1: nobody may pass it while it is a dead letter
  PRIMARY KEY (flow, key)
) WITHOUT ROWID;

CREATE INDEX parked_seq ON parked (seq);
