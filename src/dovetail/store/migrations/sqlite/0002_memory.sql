-- What steps remember, by flow, scope (a step, or a name that all flows know) and key. Item 0 is the key's head, the
-- others are its list: adding to it touches no other row.
CREATE TABLE memory (
  flow INTEGER NOT NULL, -- 0: shared by all flows
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  item INTEGER NOT NULL,
  value BLOB NOT NULL,
  at INTEGER NOT NULL,
  due INTEGER NOT NULL, -- of the head: when its step is called, 0 for never
  version INTEGER NOT NULL, -- the flow version that wrote it last
  PRIMARY KEY (flow, scope, key, item)
) WITHOUT ROWID;
CREATE INDEX memory_due ON memory (flow, due) WHERE due > 0;
