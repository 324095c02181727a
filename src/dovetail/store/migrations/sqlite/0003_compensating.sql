-- Messages that are being compensated (6) are due at a time, too.

DROP INDEX progress_due;
CREATE INDEX progress_due ON progress (flow, next_at) WHERE state IN (1, 3, 6);
