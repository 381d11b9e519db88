-- The books, first edition. Never edit an applied migration: add the next number.
-- Times are INTEGER microseconds since 1970-01-01 UTC, money is INTEGER fen, JSON is TEXT with sorted keys.
-- The words behind `--` are the columns' meanings: models/README.md is made from them.

CREATE TABLE orders (  -- What the merchant asked to be paid.
  out_trade_no     TEXT NOT NULL PRIMARY KEY,  -- the merchant's number
  version          INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  mchid            TEXT NOT NULL,  -- WeChat's merchant number
  appid            TEXT NOT NULL,  -- WeChat's application id
  status           TEXT NOT NULL CHECK (status IN ('CREATED', 'PAYING', 'PAID', 'FAILED', 'CLOSED')),  -- order state
  trade_type       TEXT NOT NULL CHECK (trade_type IN ('NATIVE', 'JSAPI', 'APP', 'H5')),  -- how it is paid
  description      TEXT NOT NULL,  -- what the payer reads
  total_fen        INTEGER NOT NULL CHECK (total_fen > 0),  -- asked, in fen
  currency         TEXT NOT NULL CHECK (currency = 'CNY'),  -- always CNY
  content          TEXT NOT NULL,  -- the merchant's request after defaults; a repeat is compared with it
  attach           TEXT,  -- returned by WeChat unchanged
  metadata         TEXT,  -- the merchant's own, never sent to WeChat
  livemode         INTEGER NOT NULL CHECK (livemode IN (0, 1)),  -- 0: sandbox money
  created_at       INTEGER NOT NULL,  -- when payd took it
  updated_at       INTEGER NOT NULL,  -- when it was written last
  expires_at       INTEGER NOT NULL,  -- time_expire at WeChat
  transaction_id   TEXT,  -- WeChat's number, once paid
  payer_total_fen  INTEGER CHECK (payer_total_fen >= 0),  -- paid by the payer after coupons
  refunded_fen     INTEGER NOT NULL CHECK (refunded_fen >= 0),  -- sum of refunds that succeeded
  reserved_fen     INTEGER NOT NULL,  -- sum of refunds that are not failed
  paid_at          INTEGER,  -- WeChat's success_time
  closed_at        INTEGER,  -- when it was closed or failed
  late             INTEGER NOT NULL CHECK (late IN (0, 1)),  -- 1: money came on a FAILED or CLOSED order
  journal_head     TEXT NOT NULL,  -- hash of its newest journal line
  journal_length   INTEGER NOT NULL CHECK (journal_length >= 0),  -- number of its journal lines
  CHECK (refunded_fen <= reserved_fen AND reserved_fen <= total_fen),
  CHECK (reserved_fen = 0 OR status = 'PAID' OR late = 1),
  CHECK (status <> 'PAID' OR paid_at IS NOT NULL),
  CHECK (late = 0 OR status IN ('FAILED', 'CLOSED'))
) STRICT;
CREATE UNIQUE INDEX orders_by_transaction ON orders (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX orders_by_creation ON orders (created_at, out_trade_no);
CREATE INDEX orders_by_state ON orders (status, trade_type, created_at, out_trade_no);
CREATE INDEX orders_by_payment ON orders (paid_at, out_trade_no, status, total_fen) WHERE paid_at IS NOT NULL;

CREATE TABLE payments (  -- The order's payment at WeChat, one under each number.
  out_trade_no       TEXT NOT NULL PRIMARY KEY REFERENCES orders (out_trade_no),  -- the order
  version            INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  status             TEXT NOT NULL CHECK (status IN ('INIT', 'PROCESSING', 'SUCCESS', 'FAIL', 'TIMEOUT')),  -- payment state
  trade_type         TEXT NOT NULL CHECK (trade_type IN ('NATIVE', 'JSAPI', 'APP', 'H5')),  -- how it is paid
  wire_request       BLOB NOT NULL,  -- the exact prepay body; a repeat sends these bytes
  created_at         INTEGER NOT NULL,  -- when payd decided it
  updated_at         INTEGER NOT NULL,  -- when it was written last
  submissions        INTEGER NOT NULL CHECK (submissions >= 0),  -- commits that announced a send
  absent_at_wechat   INTEGER NOT NULL CHECK (absent_at_wechat IN (0, 1)),  -- 1: a signed ORDER_NOT_EXIST was the last word
  prepay_id          TEXT,  -- JSAPI, APP
  code_url           TEXT,  -- NATIVE
  h5_url             TEXT,  -- H5
  parameters_at      INTEGER,  -- when the three above were received
  outcome            TEXT,  -- unknown: WeChat has not answered clearly
  wechat_status      INTEGER,  -- HTTP status of the last refusal or unclear answer
  wechat_code        TEXT,  -- its code
  wechat_message     TEXT,  -- its message
  wechat_request_id  TEXT,  -- its Request-ID
  openid             TEXT,  -- the payer
  bank_type          TEXT,  -- how the payer paid
  next_check_at      INTEGER,  -- when WeChat is asked next; null: never
  checks             INTEGER NOT NULL CHECK (checks >= 0),  -- position on the re-query ladder
  asked_at           INTEGER,  -- when WeChat was asked last
  close_requested    INTEGER NOT NULL CHECK (close_requested IN (0, 1))  -- 1: the merchant wants it closed
) STRICT;
CREATE INDEX payments_due ON payments (next_check_at, out_trade_no) WHERE next_check_at IS NOT NULL;

CREATE TABLE refunds (  -- All or a part of a paid order, given back.
  out_refund_no          TEXT NOT NULL PRIMARY KEY,  -- the merchant's refund number, the same for ever
  version                INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  out_trade_no           TEXT NOT NULL REFERENCES orders (out_trade_no),  -- the order
  transaction_id         TEXT,  -- WeChat's number of the payment
  status                 TEXT NOT NULL CHECK (status IN ('REFUND_INIT', 'REFUNDING', 'REFUND_SUCCESS', 'REFUND_FAIL')),  -- refund state
  refund_fen             INTEGER NOT NULL CHECK (refund_fen > 0),  -- given back, in fen
  total_fen              INTEGER NOT NULL CHECK (total_fen > 0),  -- the order's total, in fen
  currency               TEXT NOT NULL CHECK (currency = 'CNY'),  -- always CNY
  reason                 TEXT,  -- what the payer reads
  content                TEXT NOT NULL,  -- the merchant's request; a repeat is compared with it
  metadata               TEXT,  -- the merchant's own, never sent to WeChat
  wire_request           BLOB NOT NULL,  -- the exact refund body; a repeat sends these bytes
  created_at             INTEGER NOT NULL,  -- when payd took it
  updated_at             INTEGER NOT NULL,  -- when it was written last
  refund_id              TEXT,  -- WeChat's number
  attention              TEXT CHECK (attention IN ('abnormal', 'not_enough')),  -- a person must look
  submissions            INTEGER NOT NULL CHECK (submissions >= 0),  -- commits that announced a send
  absent_at_wechat       INTEGER NOT NULL CHECK (absent_at_wechat IN (0, 1)),  -- 1: a signed RESOURCE_NOT_EXISTS was the last word
  outcome                TEXT,  -- unknown: WeChat has not answered clearly
  wechat_status          INTEGER,  -- HTTP status of the last refusal or unclear answer
  wechat_code            TEXT,  -- its code
  wechat_message         TEXT,  -- its message
  wechat_request_id      TEXT,  -- its Request-ID
  user_received_account  TEXT,  -- where the payer got the money
  succeeded_at           INTEGER,  -- WeChat's success_time
  next_check_at          INTEGER,  -- when WeChat is asked next; null: never
  checks                 INTEGER NOT NULL CHECK (checks >= 0),  -- position on the re-query ladder
  asked_at               INTEGER,  -- position on the re-query ladder
  CHECK (refund_fen <= total_fen)
) STRICT;
CREATE INDEX refunds_by_order ON refunds (out_trade_no, created_at, out_refund_no);
CREATE INDEX refunds_by_creation ON refunds (created_at, out_refund_no);
CREATE INDEX refunds_by_state ON refunds (status, created_at, out_refund_no);
CREATE INDEX refunds_by_success ON refunds (succeeded_at, refund_fen) WHERE succeeded_at IS NOT NULL;
CREATE INDEX refunds_due ON refunds (next_check_at, out_refund_no) WHERE next_check_at IS NOT NULL;

CREATE TABLE journal (  -- Append-only history of an order; each line is chained to the one before by its hash.
  out_trade_no       TEXT NOT NULL REFERENCES orders (out_trade_no),  -- the order
  position           INTEGER NOT NULL CHECK (position >= 1),  -- 1, 2, 3 without gaps
  subject            TEXT NOT NULL,  -- order, payment, refund or discrepancy
  subject_id         TEXT NOT NULL,  -- its key
  from_state         TEXT,  -- null: it begins here
  to_state           TEXT,  -- null: a remark that moves nothing
  source             TEXT NOT NULL CHECK (source IN ('api', 'notification', 'query', 'bill', 'operator')),  -- on whose word
  at                 INTEGER NOT NULL,  -- when
  request_id         TEXT,  -- the caller's X-Request-Id
  wechat_request_id  TEXT,  -- WeChat's Request-ID
  detail             TEXT NOT NULL,  -- what else is to be known
  previous_hash      TEXT NOT NULL,  -- hash of the line before, empty for the first
  hash               TEXT NOT NULL,  -- SHA-256 over every member and previous_hash
  UNIQUE (out_trade_no, position)
) STRICT;

CREATE TABLE ledger_entries (  -- Double entry: the entries of one posting sum to zero.
  out_trade_no   TEXT NOT NULL REFERENCES orders (out_trade_no),  -- the order
  posting_id     TEXT NOT NULL,  -- kind and business number: one thing is booked once
  account        TEXT NOT NULL CHECK (account IN
    ('wechat_receivable', 'sales', 'late_payments', 'refunds_reserved', 'wechat_fees')),  -- where
  kind           TEXT NOT NULL CHECK (kind IN ('payment_received', 'late_payment_received',
    'refund_reserved', 'refund_settled', 'refund_released', 'fee')),  -- why
  amount_fen     INTEGER NOT NULL,  -- positive is debit, in fen
  out_refund_no  TEXT,  -- the refund, if it is about one
  at             INTEGER NOT NULL,  -- when
  PRIMARY KEY (out_trade_no, posting_id, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (  -- Who claimed an Idempotency-Key, for what, and the answer that finished it.
  scope_key      TEXT NOT NULL PRIMARY KEY,  -- SHA-256 of API key id, route and Idempotency-Key
  version        INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  fingerprint    TEXT NOT NULL,  -- SHA-256 of the canonical body
  subject_id     TEXT NOT NULL,  -- the out_trade_no or out_refund_no bound to it
  owner          TEXT NOT NULL,  -- who works on it
  lease_until    INTEGER NOT NULL,  -- for a second process on these books: until then the key is its owner's
  created_at     INTEGER NOT NULL,  -- first seen
  updated_at     INTEGER NOT NULL,  -- when it was written last
  expires_at     INTEGER NOT NULL,  -- then it may be forgotten
  answer_status  INTEGER CHECK (answer_status BETWEEN 200 AND 599),  -- HTTP status of the finishing answer
  answer_body    BLOB,  -- its body
  CHECK ((answer_status IS NULL) = (answer_body IS NULL))
) STRICT;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE TABLE notifications (  -- Each received callback with the verdict of each check.
  id             TEXT NOT NULL,  -- made by payd
  received_at    INTEGER NOT NULL,  -- when
  wechat_id      TEXT,  -- the envelope's id, the same for all re-sends
  event_type     TEXT,  -- the envelope's event_type
  out_trade_no   TEXT,  -- the order it speaks of, known or not
  out_refund_no  TEXT,  -- the refund it speaks of, known or not
  result         TEXT NOT NULL,  -- how it ended
  steps          TEXT NOT NULL,  -- [[step, verdict], ...]
  PRIMARY KEY (received_at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_by_result ON notifications (result, received_at, id);

CREATE TABLE deliveries (  -- The outbox: one webhook to one endpoint.
  sequence       INTEGER PRIMARY KEY,  -- order of commit: what is told about one order goes out in this order
  id             TEXT NOT NULL UNIQUE,  -- names it in the API
  version        INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  webhook_id     TEXT NOT NULL,  -- Standard Webhooks id, the same for every attempt
  url            TEXT NOT NULL,  -- the endpoint
  type           TEXT NOT NULL,  -- event, as order.paid
  object_key     TEXT NOT NULL,  -- the number of the order spoken of
  out_trade_no   TEXT NOT NULL,  -- the order
  out_refund_no  TEXT,  -- the refund, if it is about one
  payload        BLOB NOT NULL,  -- the exact body
  status         TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead', 'disabled')),  -- where it stands
  attempts       INTEGER NOT NULL CHECK (attempts >= 0),  -- tries so far
  created_at     INTEGER NOT NULL,  -- when it was decided
  updated_at     INTEGER NOT NULL,  -- when it was written last
  next_at        INTEGER,  -- when it may go out next
  CHECK (status <> 'pending' OR next_at IS NOT NULL)
) STRICT;
CREATE INDEX deliveries_by_creation ON deliveries (created_at, id);
CREATE INDEX deliveries_by_state ON deliveries (status, created_at, id);
CREATE INDEX deliveries_due ON deliveries (url, next_at, sequence) WHERE status = 'pending';
CREATE INDEX deliveries_of_object ON deliveries (url, object_key, sequence) WHERE status = 'pending';

CREATE TABLE delivery_attempts (  -- One try to deliver.
  delivery_id  TEXT NOT NULL REFERENCES deliveries (id),  -- the delivery
  number       INTEGER NOT NULL CHECK (number >= 1),  -- 1, 2, 3
  at           INTEGER NOT NULL,  -- when it began
  status       INTEGER,  -- HTTP status, null when none came
  error        TEXT,  -- why none came
  duration_ms  INTEGER NOT NULL,  -- how long it took
  PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE discrepancies (  -- WeChat and the books contradict each other; a person must look.
  id              TEXT NOT NULL PRIMARY KEY,  -- derived from kind and numbers: seen twice it is one row
  version         INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  kind            TEXT NOT NULL,  -- what contradicts what
  status          TEXT NOT NULL CHECK (status IN ('open', 'resolved')),  -- whether a person has dealt with it
  out_trade_no    TEXT,  -- the order, known or not
  out_refund_no   TEXT,  -- the refund, known or not
  transaction_id  TEXT,  -- WeChat's number
  detail          TEXT NOT NULL,  -- what was said and what the books say
  opened_at       INTEGER NOT NULL,  -- first seen
  updated_at      INTEGER NOT NULL,  -- when it was written last
  resolved_at     INTEGER,  -- when a person closed it
  resolved_by     TEXT,  -- who
  note            TEXT,  -- why
  CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
) STRICT;
CREATE INDEX discrepancies_by_opening ON discrepancies (opened_at, id);
CREATE INDEX discrepancies_by_state ON discrepancies (status, opened_at, id);

CREATE TABLE bill_runs (  -- One bill of one Beijing day.
  bill_date    TEXT NOT NULL,  -- the day, YYYY-MM-DD in Beijing
  kind         TEXT NOT NULL CHECK (kind IN ('trade', 'fundflow')),  -- which file
  version      INTEGER NOT NULL CHECK (version >= 1),  -- counts the commits that wrote this row
  status       TEXT NOT NULL CHECK (status IN ('due', 'empty', 'compared', 'damaged')),  -- where the run stands
  attempts     INTEGER NOT NULL CHECK (attempts >= 0),  -- tries so far
  rows         INTEGER NOT NULL CHECK (rows >= 0),  -- rows in the file
  differences  INTEGER NOT NULL CHECK (differences >= 0),  -- discrepancies it opened
  summary      TEXT NOT NULL,  -- counts and sums in fen
  path         TEXT,  -- where the file is kept
  created_at   INTEGER NOT NULL,  -- when it was planned
  updated_at   INTEGER NOT NULL,  -- when it was written last
  next_at      INTEGER,  -- when it is fetched next; null: done
  PRIMARY KEY (bill_date, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX bill_runs_due ON bill_runs (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE meta (  -- What the database knows about itself.
  key         TEXT NOT NULL PRIMARY KEY,  -- name
  value       TEXT NOT NULL,  -- text
  created_at  INTEGER NOT NULL,  -- when it was first said
  updated_at  INTEGER NOT NULL  -- when it was said last
) STRICT, WITHOUT ROWID;

CREATE TABLE state_counts (  -- How many rows stand in each state, kept by triggers: totals cost the same at any size.
  subject  TEXT NOT NULL,  -- orders, refunds, deliveries or discrepancies
  state    TEXT NOT NULL,  -- the state
  count    INTEGER NOT NULL CHECK (count >= 0),  -- rows in it now
  PRIMARY KEY (subject, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER orders_counted AFTER INSERT ON orders BEGIN
  INSERT INTO state_counts VALUES ('orders', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER orders_recounted AFTER UPDATE OF status ON orders WHEN OLD.status <> NEW.status BEGIN
  UPDATE state_counts SET count = count - 1 WHERE subject = 'orders' AND state = OLD.status;
  INSERT INTO state_counts VALUES ('orders', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER refunds_counted AFTER INSERT ON refunds BEGIN
  INSERT INTO state_counts VALUES ('refunds', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER refunds_recounted AFTER UPDATE OF status ON refunds WHEN OLD.status <> NEW.status BEGIN
  UPDATE state_counts SET count = count - 1 WHERE subject = 'refunds' AND state = OLD.status;
  INSERT INTO state_counts VALUES ('refunds', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER deliveries_counted AFTER INSERT ON deliveries BEGIN
  INSERT INTO state_counts VALUES ('deliveries', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries WHEN OLD.status <> NEW.status BEGIN
  UPDATE state_counts SET count = count - 1 WHERE subject = 'deliveries' AND state = OLD.status;
  INSERT INTO state_counts VALUES ('deliveries', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER discrepancies_counted AFTER INSERT ON discrepancies BEGIN
  INSERT INTO state_counts VALUES ('discrepancies', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER discrepancies_recounted AFTER UPDATE OF status ON discrepancies WHEN OLD.status <> NEW.status BEGIN
  UPDATE state_counts SET count = count - 1 WHERE subject = 'discrepancies' AND state = OLD.status;
  INSERT INTO state_counts VALUES ('discrepancies', NEW.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;

-- No other arrow exists (models/states.py; a test holds these lists to the tables).
CREATE TRIGGER orders_arrows BEFORE UPDATE OF status ON orders
WHEN OLD.status <> NEW.status AND OLD.status || ' ' || NEW.status NOT IN
  ('CREATED PAYING', 'PAYING PAID', 'PAYING FAILED', 'PAYING CLOSED')
BEGIN SELECT RAISE(ABORT, 'no such arrow of an order'); END;
CREATE TRIGGER payments_arrows BEFORE UPDATE OF status ON payments
WHEN OLD.status <> NEW.status AND OLD.status || ' ' || NEW.status NOT IN
  ('INIT PROCESSING', 'PROCESSING SUCCESS', 'PROCESSING FAIL', 'PROCESSING TIMEOUT')
BEGIN SELECT RAISE(ABORT, 'no such arrow of a payment'); END;
CREATE TRIGGER refunds_arrows BEFORE UPDATE OF status ON refunds
WHEN OLD.status <> NEW.status AND OLD.status || ' ' || NEW.status NOT IN
  ('REFUND_INIT REFUNDING', 'REFUNDING REFUND_SUCCESS', 'REFUNDING REFUND_FAIL')
BEGIN SELECT RAISE(ABORT, 'no such arrow of a refund'); END;

-- History is not rewritten.
CREATE TRIGGER journal_unchanged BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_kept BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER ledger_unchanged BEFORE UPDATE ON ledger_entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger_entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER orders_kept BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'orders are kept'); END;
CREATE TRIGGER payments_kept BEFORE DELETE ON payments BEGIN SELECT RAISE(ABORT, 'payments are kept'); END;
CREATE TRIGGER refunds_kept BEFORE DELETE ON refunds BEGIN SELECT RAISE(ABORT, 'refunds are kept'); END;
