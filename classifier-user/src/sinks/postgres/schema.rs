//! The tables in the database, and how they come to be what this version needs: step by step, each in one transaction.
//!
//! Every node brings the schema up to date before it brings records; an advisory lock lets one of them do it at a time.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Steps from an empty schema to the present one. A step that was ever released is never changed.
pub(super) const STEPS: [&str; 1] = [FIRST];

/// Tables whose records are in partitions, a month each, and the column that says in which.
pub(super) const PARTITIONED: [(&str, &str); 2] =
    [("usage_record", "\"end\""), ("account_record", "time")];

const FIRST: &str = r#"
CREATE TABLE node (
    node text PRIMARY KEY,
    timezone text NOT NULL,
    seq bigint NOT NULL,
    fingerprint text NOT NULL,
    updated timestamptz NOT NULL
);
COMMENT ON TABLE node IS 'Gateways. seq: the last record that is here; all before it are, too';

CREATE TABLE usage_record (
    node text NOT NULL,
    epoch text NOT NULL,
    seq bigint NOT NULL,
    subscriber text NOT NULL,
    session bigint NOT NULL,
    session_seq bigint NOT NULL,
    final boolean NOT NULL,
    addresses cidr[] NOT NULL,
    plan text NOT NULL,
    state text NOT NULL,
    class text NOT NULL,
    rating_group bigint NOT NULL,
    charged text NOT NULL,
    policy_version text NOT NULL,
    bytes_up bigint NOT NULL,
    bytes_down bigint NOT NULL,
    packets_up bigint NOT NULL,
    packets_down bigint NOT NULL,
    total_bytes_up bigint NOT NULL,
    total_bytes_down bigint NOT NULL,
    total_packets_up bigint NOT NULL,
    total_packets_down bigint NOT NULL,
    bytes_drawn bigint NOT NULL,
    active_seconds double precision NOT NULL,
    peak_up_bps bigint NOT NULL,
    peak_down_bps bigint NOT NULL,
    start timestamptz NOT NULL,
    "end" timestamptz NOT NULL,
    last_activity timestamptz NOT NULL,
    cause text NOT NULL,
    gap jsonb,
    count_point text NOT NULL,
    byte_basis text NOT NULL,
    more jsonb,
    PRIMARY KEY (node, epoch, seq, "end")
) PARTITION BY RANGE ("end");
CREATE INDEX ON usage_record (subscriber, "end");
COMMENT ON TABLE usage_record IS 'What subscribers used: a row a usage record, a partition a month (UTC) of its end';

CREATE TABLE account_record (
    node text NOT NULL,
    epoch text NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    subscriber text,
    time timestamptz NOT NULL,
    id text,
    reason text,
    bucket text,
    bytes bigint,
    amount text,
    left_bytes bigint,
    more jsonb,
    PRIMARY KEY (node, epoch, seq, time)
) PARTITION BY RANGE (time);
CREATE INDEX ON account_record (subscriber, time);
COMMENT ON TABLE account_record IS 'All other records: grants, debits, changes of service. more: what has no column';

CREATE VIEW usage_by_day AS
SELECT (u.start AT TIME ZONE n.timezone)::date AS day, u.node, u.subscriber, u.plan, u.class, u.rating_group, u.charged,
    sum(u.bytes_up) AS bytes_up, sum(u.bytes_down) AS bytes_down,
    sum(u.packets_up) AS packets_up, sum(u.packets_down) AS packets_down, sum(u.bytes_drawn) AS bytes_drawn
FROM usage_record u JOIN node n USING (node)
GROUP BY 1, 2, 3, 4, 5, 6, 7;
COMMENT ON VIEW usage_by_day IS 'Usage by day and subscriber; days of the gateway''s time zone, in which records are split';

CREATE VIEW usage_by_subscriber AS
SELECT date_trunc('month', u.start AT TIME ZONE n.timezone)::date AS month, u.subscriber, u.class, u.rating_group, u.charged,
    sum(u.bytes_up) AS bytes_up, sum(u.bytes_down) AS bytes_down,
    sum(u.packets_up) AS packets_up, sum(u.packets_down) AS packets_down, sum(u.bytes_drawn) AS bytes_drawn,
    max(u.peak_up_bps) AS peak_up_bps, max(u.peak_down_bps) AS peak_down_bps, max(u."end") AS until
FROM usage_record u JOIN node n USING (node)
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW usage_by_subscriber IS 'Usage by month and subscriber, over all gateways';

CREATE VIEW usage_by_class AS
SELECT date_trunc('month', u.start AT TIME ZONE n.timezone)::date AS month, u.class, u.rating_group, u.charged,
    count(DISTINCT u.subscriber) AS subscribers,
    sum(u.bytes_up) AS bytes_up, sum(u.bytes_down) AS bytes_down,
    sum(u.packets_up) AS packets_up, sum(u.packets_down) AS packets_down
FROM usage_record u JOIN node n USING (node)
GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW usage_by_class IS 'Usage by month and class, over all gateways and subscribers';

CREATE VIEW usage_by_month AS
SELECT date_trunc('month', u.start AT TIME ZONE n.timezone)::date AS month, u.node,
    sum(u.bytes_up) AS bytes_up, sum(u.bytes_down) AS bytes_down,
    sum(u.bytes_up + u.bytes_down) FILTER (WHERE u.charged = 'free') AS bytes_free,
    sum(u.bytes_up + u.bytes_down) FILTER (WHERE u.charged = 'dropped') AS bytes_dropped,
    count(*) AS records
FROM usage_record u JOIN node n USING (node)
GROUP BY 1, 2;
COMMENT ON VIEW usage_by_month IS 'Usage by month and gateway';
"#;

/// A month, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month of a time.
    pub(super) fn of(time: Timestamp) -> Self {
        let date = time.to_zoned(TimeZone::UTC).date();
        Self {
            year: date.year(),
            month: date.month(),
        }
    }

    const fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year + 1,
                month: 1,
            },
            month => Self {
                year: self.year,
                month: month + 1,
            },
        }
    }

    fn begin(self) -> String {
        format!("{:04}-{:02}-01 00:00:00+00", self.year, self.month)
    }

    /// Makes this month's partition of a table.
    pub(super) fn partition(self, table: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {table}_{:04}_{:02} PARTITION OF {table} FOR VALUES FROM ('{}') TO ('{}')",
            self.year,
            self.month,
            self.begin(),
            self.next().begin()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let month = |time: &str| Month::of(time.parse().unwrap());
        assert_eq!(
            month("2026-12-31T23:59:59.999999999Z").partition("usage_record"),
            "CREATE TABLE IF NOT EXISTS usage_record_2026_12 PARTITION OF usage_record FOR VALUES FROM \
             ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')"
        );
        assert_eq!(
            month("2027-01-01T00:00:00Z"),
            month("2026-12-01T00:00:00Z").next()
        );
    }
}
