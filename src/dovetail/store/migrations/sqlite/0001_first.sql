-- The store's first shape. Numbers of states are those of dovetail.store.base.State: below 10 pending, 12 dead.

PRAGMA application_id = 1146508364; -- "DVTL"

CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uid TEXT NOT NULL,
  clean INTEGER NOT NULL, -- 1: closed by its last user, nothing was in flight
  opened INTEGER NOT NULL, -- how often
  high INTEGER NOT NULL, -- the highest journal number ever pruned: numbers are never used again
  created INTEGER NOT NULL
);

CREATE TABLE journal (
  seq INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  key TEXT,
  parent INTEGER NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL, -- of the whole body, bytes
  scope INTEGER, -- with dedupe_id: the row of dedupe that goes with this entry
  dedupe_id TEXT,
  meta BLOB NOT NULL,
  body BLOB, -- NULL when it is in payloads
  payload INTEGER
);
-- The key rides along so that a search by key reads this index alone.
CREATE INDEX journal_stream ON journal (stream, seq, key);
CREATE INDEX journal_parent ON journal (parent, seq) WHERE parent > 0;
CREATE INDEX journal_payload ON journal (payload) WHERE payload IS NOT NULL;

-- Large bodies, once each: the journal stays quick to scan.
CREATE TABLE payloads (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE, -- BLAKE2b-256 of the body
  packed INTEGER NOT NULL, -- 1: zlib
  body BLOB NOT NULL
);

CREATE TABLE dedupe (
  scope INTEGER NOT NULL,
  id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  body_hash BLOB NOT NULL,
  PRIMARY KEY (scope, id)
) WITHOUT ROWID;

CREATE TABLE progress (
  flow INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  state INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  key TEXT,
  parts INTEGER NOT NULL,
  reason TEXT NOT NULL,
  memo BLOB NOT NULL,
  PRIMARY KEY (flow, seq)
) WITHOUT ROWID;
-- Done rows are in none of these, so the common case writes one row and no index.
CREATE INDEX progress_due ON progress (flow, next_at) WHERE state IN (1, 3);
CREATE INDEX progress_key ON progress (flow, key, seq) WHERE key IS NOT NULL AND state < 10;
CREATE INDEX progress_open ON progress (flow, state, seq) WHERE state < 10 OR state = 12;

CREATE TABLE edits (
  flow INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (seq, flow)
);

CREATE TABLE counts (
  flow INTEGER NOT NULL, -- or minus the stream
  word TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (flow, word)
) WITHOUT ROWID;

CREATE TABLE claims (flow INTEGER PRIMARY KEY, claimed INTEGER NOT NULL, settled INTEGER NOT NULL);

CREATE TABLE marks (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE names (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (kind, name),
  UNIQUE (kind, number)
) WITHOUT ROWID;

-- Flow 0: the stream is known to have no reader.
CREATE TABLE readers (stream INTEGER NOT NULL, flow INTEGER NOT NULL, PRIMARY KEY (stream, flow)) WITHOUT ROWID;

CREATE TABLE versions (
  flow INTEGER NOT NULL,
  number INTEGER NOT NULL,
  digest TEXT NOT NULL,
  at INTEGER NOT NULL,
  text BLOB NOT NULL,
  PRIMARY KEY (flow, number),
  UNIQUE (flow, digest)
);

-- One row a transaction; `events` is a MessagePack array. Its number tells after a fault whether a transaction was kept.
CREATE TABLE audit (txn INTEGER PRIMARY KEY, at INTEGER NOT NULL, events BLOB NOT NULL);
