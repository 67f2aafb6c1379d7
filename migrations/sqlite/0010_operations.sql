-- When the execution was moved last by anything but the ends of its attempts: by an operator, by a
-- message that nobody could read. Null where it never was.
ALTER TABLE executions ADD COLUMN changed_at INTEGER;

-- The lane that it waits in, and the key within which executions run one after the other. Null:
-- nothing sets them yet.
ALTER TABLE executions ADD COLUMN lane TEXT;
ALTER TABLE executions ADD COLUMN order_key TEXT;

-- What holds it, while it is suspended; why it was moved last, where somebody said so.
ALTER TABLE executions ADD COLUMN held_by TEXT;
ALTER TABLE executions ADD COLUMN reason TEXT;

-- A row that is written before its event has come, as an operator has moved the execution meanwhile,
-- has an empty `event_id`, which no event has.

UPDATE schema_info SET version = 10;
