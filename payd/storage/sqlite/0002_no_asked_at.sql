-- When WeChat was asked last decides nothing since plugin/asking.py keeps it: a question that taught nothing
-- writes nothing. (SQLite leaves the comment of a dropped last column to the one before it: 0001 has it ready.)
ALTER TABLE payments DROP COLUMN asked_at;
ALTER TABLE refunds DROP COLUMN asked_at;
