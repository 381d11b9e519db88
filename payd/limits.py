"""Every bound in the program: value, unit, reason and source. A number that limits anything lives here.

Sources: "WeChat" is the official page of the API named; "contract" is payd's published HTTP contract.
"""

from __future__ import annotations

from typing import Final

# -- money, in fen ------------------------------------------------------------------------------------------------
TOTAL_FEN_MIN: Final = 1  # WeChat prepay, amount.total >= 1
TOTAL_FEN_MAX: Final = 100_000_000  # contract: one million yuan; above any WeChat single-payment limit

# -- field lengths, in UTF-8 bytes (WeChat's messages count bytes even where its pages say characters) ------------
DESCRIPTION_BYTES_MAX: Final = 127  # WeChat prepay
ATTACH_BYTES_MAX: Final = 128  # WeChat prepay
GOODS_TAG_BYTES_MAX: Final = 32  # WeChat prepay
OPENID_BYTES_MAX: Final = 128  # WeChat prepay, payer.openid
DETAIL_BYTES_MAX: Final = 6144  # WeChat prepay, detail, compact JSON
REASON_BYTES_MAX: Final = 80  # WeChat refund
NOTIFY_URL_BYTES_MAX: Final = 255  # WeChat prepay
METADATA_MEMBERS_MAX: Final = 20  # contract
METADATA_KEY_CHARS_MAX: Final = 40  # as Stripe's metadata keys
METADATA_VALUE_CHARS_MAX: Final = 500  # as Stripe's metadata values
LOOKUP_BYTES_MAX: Final = 128  # a number that is only looked up; twice the longest there is
WECHAT_ID_BYTES_MAX: Final = 32  # WeChat prepay: article, shop, device and invoice numbers
GOODS_NAME_BYTES_MAX: Final = 256  # WeChat prepay and refund, goods_name; also the shop's name
GOODS_MAX: Final = 115  # articles of a refund: an order's detail of 6144 bytes holds no more
STORE_ADDRESS_BYTES_MAX: Final = 512  # WeChat prepay, store_info.address
CLIENT_IP_BYTES_MAX: Final = 45  # WeChat prepay, payer_client_ip
H5_APP_NAME_BYTES_MAX: Final = 64  # WeChat H5 prepay
H5_APP_BYTES_MAX: Final = 128  # WeChat H5 prepay: app_url, bundle_id, package_name
INTEGER_MAX: Final = 9_223_372_036_854_775_807  # WeChat and SQLite: signed, 64 bits
NOTE_CHARS_MAX: Final = 500  # a person's note on a discrepancy

# -- order life, in seconds ---------------------------------------------------------------------------------------
EXPIRE_SECONDS_MIN: Final = 60  # WeChat raises anything earlier to one minute
EXPIRE_SECONDS_MAX: Final = 604_800  # WeChat closes unpaid orders after seven days
EXPIRE_SECONDS_DEFAULT: Final = 7_200  # a code_url and a prepay_id live two hours
PREPAY_LIFETIME_SECONDS: Final = 7_200  # WeChat: prepay_id and code_url
H5_LIFETIME_SECONDS: Final = 300  # WeChat: h5_url
LATE_WATCH_SECONDS: Final = 86_400  # how long a closed order is still asked about
QUERY_FRESH_SECONDS: Final = 3  # contract 1.2: WeChat is asked again only after this

# -- refunds ------------------------------------------------------------------------------------------------------
REFUNDS_PER_ORDER_MAX: Final = 50  # WeChat refund rules
REFUND_SPACING_SECONDS: Final = 60  # WeChat refund rules: at least one minute apart
REFUND_WINDOW_SECONDS: Final = 365 * 86_400  # WeChat refund rules, from success_time

# -- HTTP, inbound ------------------------------------------------------------------------------------------------
BODY_BYTES_MAX: Final = 262_144  # contract: 256 KiB
JSON_DEPTH_MAX: Final = 16  # deeper than any body payd knows
JSON_MEMBERS_MAX: Final = 2_048  # more than any body payd knows: a hostile one must not hold the loop
COMPLAINTS_MAX: Final = 100  # in one answer; a person mends fewer at a time
HEADER_BYTES_MAX: Final = 16_384  # Tornado's default is 64 KiB
BODY_TIMEOUT_SECONDS: Final = 20  # Tornado's default is none
IDLE_CONNECTION_SECONDS: Final = 75  # between requests, and for the headers of one; Tornado's default is an hour
DRAINED_BYTES_MAX: Final = 67_108_864  # 64 MiB: a body over the limit is read up to here, so that 413 is heard
READ_SLICE_BYTES: Final = 512  # parsed at once: a few dozen of the smallest requests, a third of a callback
READ_TURN_BYTES: Final = 8_192  # parsed in one turn of the loop for one connection, about a millisecond
CHUNKS_MAX: Final = 4_096  # of a chunked body: 64 bytes each at the body's limit
LINGER_SECONDS: Final = 5  # for a client that still sends to read why it was refused
SWEEP_SECONDS: Final = 1.0  # between two looks at who lets payd wait
CONNECTIONS_MAX: Final = 800  # at once, below the usual 1,024 open files; the one idle longest makes room
BACKLOG: Final = 512  # connections waiting to be accepted
TLS_HANDSHAKE_SECONDS: Final = 10
PROBE_SECONDS: Final = 1  # /readyz is public: its write is tried this often at most
NOTIFY_DEADLINE_SECONDS: Final = 3.8  # contract: answered within 4 s; WeChat waits 5 s
DRAIN_SECONDS: Final = 15  # below systemd's 90 s stop timeout
PAGE_LIMIT_DEFAULT: Final = 20  # contract
PAGE_LIMIT_MAX: Final = 100  # contract
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255  # contract
IDEMPOTENCY_LEASE_SECONDS: Final = 20  # contract: a dead owner's claim is taken over within 25 s
REQUESTS_PER_SECOND_PER_KEY: Final = 500  # contract 1.8
FAILED_AUTH_PER_MINUTE_PER_ADDRESS: Final = 300  # contract 1.8
FAILED_AUTH_ADDRESSES_MAX: Final = 4_096  # addresses remembered at once; the oldest is forgotten

# -- callbacks ----------------------------------------------------------------------------------------------------
CALLBACK_WINDOW_SECONDS: Final = 300  # WeChat: five minutes, both sides
CERT_REFRESH_SPACING_SECONDS: Final = 30  # contract 1.9: anybody can invent a serial
CERT_REFRESH_BUDGET_SECONDS: Final = 2.0  # contract 1.9: the share of a callback's time
REJECTED_CALLBACKS_STORED_PER_SECOND: Final = 50  # a flood of forgeries must not fill the disk

# -- HTTP, outbound -----------------------------------------------------------------------------------------------
WECHAT_ANSWER_BYTES_MAX: Final = 4_194_304  # JSON answers are a few KiB; certificates the largest
WECHAT_CONNECT_TIMEOUT_MS: Final = 2_000
WECHAT_CONNECTIONS_MAX: Final = 100
WECHAT_IDLE_CONNECTION_SECONDS: Final = 7  # WeChat drops idle connections after 8 s (Keep-Alive: timeout=8)
WECHAT_MESSAGE_CHARS_MAX: Final = 256  # what is kept of WeChat's error text
WECHAT_FAILURES_TO_SWITCH: Final = 3  # of the last five tries of the main host; WeChat's failover rule: 3 of 5 probes
WECHAT_PROBES_TO_RETURN: Final = 3  # of the last five, before all calls go to the main host again
WECHAT_PROBE_SPACING_SECONDS: Final = 12  # WeChat's failover rule: five probes a minute
REFUNDS_PER_SECOND: Final = 150  # WeChat, per mchid, good requests
FAILING_REFUNDS_PER_SECOND: Final = 6  # WeChat, per mchid, failing requests
REFUND_QUERIES_PER_SECOND: Final = 300  # WeChat, per mchid
BILLS_PER_SECOND: Final = 3  # WeChat, per mchid
PACE_WAIT_SECONDS_MAX: Final = 2.0  # a call that would have to wait longer is not made
BILL_DOWNLOAD_SECONDS_MAX: Final = 120  # inside the five minutes of the download token
BILL_FILE_BYTES_MAX: Final = 268_435_456  # 256 MiB compressed, over a million orders a day
BILL_PLAIN_BYTES_MAX: Final = 2_147_483_648  # 2 GiB: gzip must not fill the disk
WEBHOOK_TIMEOUT_SECONDS: Final = 15  # contract 1.10
WEBHOOK_ANSWER_BYTES_MAX: Final = 65_536
WEBHOOK_CONCURRENCY_MAX: Final = 16

# -- storage ------------------------------------------------------------------------------------------------------
WRITE_QUEUE_MAX: Final = 4_096  # ChangeSets waiting for the writer; beyond it 503
RECENT_ORDERS_MAX: Final = 8_192  # kept in memory after their commit, 5 KiB each: those of two hours at one a second
WRITE_BATCH_MAX: Final = 256  # ChangeSets in one fsync
COMMIT_ATTEMPTS_MAX: Final = 3  # a command decides again after StaleVersion, at most
CONTENDED_ATTEMPTS_MAX: Final = 50  # evidence and operators, whom nothing keeps apart: each round one of them lands
JOURNAL_DETAIL_BYTES_MAX: Final = 8_192

# -- workers ------------------------------------------------------------------------------------------------------
RECONCILE_CONCURRENCY: Final = 8
HOUSEKEEPING_INTERVAL_SECONDS: Final = 5  # the dashboard shows the money of today from these gauges
NOTIFICATION_ROWS_KEPT_DAYS: Final = 90

# -- bills --------------------------------------------------------------------------------------------------------
BILL_LINE_BYTES_MAX: Final = 65_536  # a trade row is about 400 bytes; attach and description are the longest members
BILL_ROWS_IN_MEMORY: Final = 150_000  # rows compared at once; a longer bill is read in shares of about that many
BILL_ROW_BYTES: Final = 300  # a trade row at its shortest, to tell rows from the size of a file
BILL_ROWS_AT_ONCE: Final = 100  # rows between two turns of the loop: about 5 ms
BILL_COMMIT_ROWS: Final = 400  # fee postings or discrepancies in one commit
BILL_CATCH_UP_DAYS: Final = 30  # days fetched after a standstill
BILL_DAYS_AT_WECHAT: Final = 90  # WeChat: bill_date within three months
BILL_CREATING_SECONDS: Final = 1_800  # WeChat: after STATEMENT_CREATING ask again in half an hour
BILL_ATTEMPTS_MAX: Final = 6  # tries of one bill that come out damaged, or unheard, before a person must look
BILL_MIDNIGHT_SECONDS: Final = 300  # a refund made that close to midnight may be accepted on the next day
