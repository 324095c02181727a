-- Very large bodies lie in files; dedupe ids outlive their messages; kept bytes are counted by stream.

CREATE TABLE stored (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE, -- BLAKE2b-256 of the body
  packed INTEGER NOT NULL, -- 1: zlib
  stored INTEGER NOT NULL, -- bytes as it is kept
  file TEXT, -- its name in the folder of spill files; then `body` is empty
  body BLOB NOT NULL
);
INSERT INTO stored SELECT id, hash, packed, length(body), NULL, body FROM payloads;
DROP TABLE payloads;
ALTER TABLE stored RENAME TO payloads;
CREATE INDEX payloads_file ON payloads (file, stored) WHERE file IS NOT NULL;

-- Dedupe ids whose messages were pruned, until their window is over.
CREATE TABLE remembered (
  at INTEGER NOT NULL, -- when the message was accepted
  scope INTEGER NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (at, scope, id)
) WITHOUT ROWID;

INSERT INTO counts
  SELECT -j.stream, 'bytes', sum(CASE WHEN p.id IS NULL THEN j.size ELSE p.stored END)
  FROM journal AS j LEFT JOIN payloads AS p ON p.id = j.payload WHERE true GROUP BY j.stream
  ON CONFLICT (flow, word) DO UPDATE SET n = excluded.n;
