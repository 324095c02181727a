-- How urgent a message is, fixed when it is accepted: 1 urgent, 2 normal, 3 background; 0 when its flow says nothing
-- (as urgent as 2). Messages of flows that say nothing are in none of the two indexes.

ALTER TABLE journal ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX journal_priority ON journal (stream, priority, seq) WHERE priority > 0;
CREATE INDEX journal_priority_key ON journal (stream, key, seq) WHERE priority > 0 AND key IS NOT NULL;
