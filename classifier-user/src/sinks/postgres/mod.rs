//! Records in tables of a PostgreSQL database, each once: they are copied into temporary tables and inserted from there, in one
//! transaction with the number of the last one. A record that is there already, by node, epoch and number, is left as it is.
//!
//! When a connection breaks, nobody knows whether the transaction before it was committed. The database does: the next
//! connection asks it for the number.

mod connection;
mod rows;
mod schema;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

use self::rows::Row;
use self::schema::{Month, PARTITIONED, STEPS};
use super::runner::{Sink, SinkError};
use super::{fingerprint, same_record};
use crate::config;
use crate::fault::{self, Point};
use crate::ledger::Reader;
use crate::ledger::usage::AnyRecord;

/// How long a connection may take, and how long a batch.
const PATIENCE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(300)];
/// The lock under which tables and partitions are made: one node at a time.
const LOCK: i64 = 0x7a65_726f_7261_7465;

/// Tables of a database.
pub(super) struct Postgres {
    settings: config::Postgres,
    node: String,
    timezone: String,
    runtime: Handle,
    client: Option<Client>,
    /// Number of the last record that is there.
    position: u64,
    /// Months there are partitions for, of each table.
    months: BTreeSet<(&'static str, Month)>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    pub(super) fn new(
        settings: &config::Postgres,
        node: &str,
        timezone: &TimeZone,
        runtime: Handle,
    ) -> Self {
        Self {
            settings: settings.clone(),
            node: node.to_owned(),
            timezone: timezone.iana_name().unwrap_or("UTC").to_owned(),
            runtime,
            client: None,
            position: 0,
            months: BTreeSet::new(),
        }
    }

    /// Brings the tables up to date, and asks how far the records are.
    async fn prepare(&self, client: &mut Client) -> Result<(u64, String), SinkError> {
        let schema = &self.settings.schema;
        let failed = |error| self.failed(&error);
        client
            .batch_execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
            .await
            .map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
            .await
            .map_err(failed)?;
        let there = transaction
            .query_one("SELECT to_regnamespace($1) IS NOT NULL", &[schema])
            .await
            .map_err(failed)?;
        if !there.get::<_, bool>(0) {
            // Who may not make schemas may be given one.
            transaction
                .batch_execute(&format!("CREATE SCHEMA {schema}"))
                .await
                .map_err(failed)?;
        }
        transaction
            .batch_execute(&format!("SET search_path = {schema}"))
            .await
            .map_err(failed)?;
        transaction
            .batch_execute("CREATE TABLE IF NOT EXISTS version (version bigint NOT NULL)")
            .await
            .map_err(failed)?;
        let version = transaction
            .query_one("SELECT coalesce(max(version), 0) FROM version", &[])
            .await
            .map_err(failed)?;
        let version = version.get::<_, i64>(0) as usize;
        if version > STEPS.len() {
            return Err(self.refused(format!(
                "its tables are of version {version}, this program knows version {}; run a later one",
                STEPS.len()
            )));
        }
        for step in &STEPS[version..] {
            transaction.batch_execute(step).await.map_err(failed)?;
        }
        if version < STEPS.len() {
            transaction
                .batch_execute(&format!(
                    "DELETE FROM version; INSERT INTO version VALUES ({})",
                    STEPS.len()
                ))
                .await
                .map_err(failed)?;
        }
        transaction
            .execute(
                "INSERT INTO node VALUES ($1, $2, 0, '', now()) ON CONFLICT (node) DO UPDATE SET timezone = $2",
                &[&self.node, &self.timezone],
            )
            .await
            .map_err(failed)?;
        let known = transaction
            .query_one(
                "SELECT seq, fingerprint FROM node WHERE node = $1",
                &[&self.node],
            )
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok((known.get::<_, i64>(0) as u64, known.get(1)))
    }

    async fn bring(
        &mut self,
        client: &mut Client,
        records: &[AnyRecord],
    ) -> Result<u64, SinkError> {
        let rows = records.iter().map(|record| Row::of(record, &self.node));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        self.make_partitions(client, &rows).await?;
        let transaction = client
            .transaction()
            .await
            .map_err(|error| self.failed(&error))?;
        // Another agent under this name waits here, and then finds another number.
        let known = transaction
            .query_one(
                "SELECT seq FROM node WHERE node = $1 FOR UPDATE",
                &[&self.node],
            )
            .await
            .map_err(|error| self.failed(&error))?;
        let known = known.get::<_, i64>(0) as u64;
        if known != self.position {
            return Err(self.refused(format!(
                "it has the records of node `{}` until {known}, not until {}: somebody else changed that; another \
                 gateway may have this name",
                self.node, self.position
            )));
        }
        fault::at(Point::BeforeSend);
        for (table, _) in PARTITIONED {
            self.copy(&transaction, table, &rows)
                .await
                .map_err(|error| self.failed(&error))?;
        }
        let Some(last) = records.last() else {
            return Ok(self.position);
        };
        transaction
            .execute(
                "UPDATE node SET seq = $2, fingerprint = $3, updated = now() WHERE node = $1",
                &[&self.node, &(last.seq() as i64), &fingerprint(last)],
            )
            .await
            .map_err(|error| self.failed(&error))?;
        fault::at(Point::BeforeSendCommit);
        transaction
            .commit()
            .await
            .map_err(|error| self.failed(&error))?;
        fault::at(Point::AfterSendCommit);
        Ok(last.seq())
    }

    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        table: &'static str,
        rows: &[Row],
    ) -> Result<(), tokio_postgres::Error> {
        use futures_util::SinkExt as _;
        let mut text = String::new();
        for row in rows.iter().filter(|row| row.table == table) {
            text += &row.line;
        }
        if text.is_empty() {
            return Ok(());
        }
        let columns = rows::columns(table);
        transaction
            .batch_execute(&format!(
                "CREATE TEMPORARY TABLE new_{table} (LIKE {table}) ON COMMIT DROP"
            ))
            .await?;
        let sink = transaction
            .copy_in(&format!("COPY new_{table} ({columns}) FROM STDIN"))
            .await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(bytes::Bytes::from(text)).await?;
        sink.as_mut().finish().await?;
        transaction
            .batch_execute(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM new_{table} ON CONFLICT DO NOTHING"
            ))
            .await
    }

    /// Makes the partitions that rows need.
    async fn make_partitions(
        &mut self,
        client: &mut Client,
        rows: &[Row],
    ) -> Result<(), SinkError> {
        let needed: BTreeSet<_> = rows
            .iter()
            .map(|row| (row.table, Month::of(row.time)))
            .collect();
        let new: Vec<_> = needed.difference(&self.months).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut statements = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK});");
        for (table, month) in &new {
            let _ = write!(statements, "{};", month.partition(table));
        }
        statements += "COMMIT";
        client
            .batch_execute(&statements)
            .await
            .map_err(|error| self.failed(&error))?;
        self.months.extend(new);
        Ok(())
    }

    /// Sees that the connection is still there.
    async fn look(&self, client: &Client) -> Result<(), SinkError> {
        let answer = client.simple_query("SELECT 1").await;
        match answer.map_err(|error| self.failed(&error))?.as_slice() {
            [.., SimpleQueryMessage::CommandComplete(_)] => Ok(()),
            _ => Err(self.refused("it answers something else".to_owned())),
        }
    }
}

impl Sink for Postgres {
    fn resume(&mut self, ledger: &Reader) -> Result<u64, SinkError> {
        self.client = None;
        // Somebody may have dropped one.
        self.months.clear();
        let runtime = self.runtime.clone();
        let (client, (position, known)) = runtime.block_on(async {
            let mut client = timeout(PATIENCE[0], self.connect())
                .await
                .map_err(|_| self.late())??;
            let prepared = timeout(PATIENCE[1], self.prepare(&mut client)).await;
            let prepared = prepared.map_err(|_| self.late())??;
            Ok::<_, SinkError>((client, prepared))
        })?;
        same_record(ledger, position, &known)
            .map_err(|strange| strange.at(self.place(), &self.node))?;
        self.client = Some(client);
        self.position = position;
        Ok(position)
    }

    fn take(&mut self, records: &[AnyRecord]) -> Result<u64, SinkError> {
        let Some(mut client) = self.client.take() else {
            return Err(self.refused("there is no connection".to_owned()));
        };
        let runtime = self.runtime.clone();
        let brought = runtime
            .block_on(async { timeout(PATIENCE[1], self.bring(&mut client, records)).await });
        self.position = brought.map_err(|_| self.late())??;
        self.client = Some(client);
        Ok(self.position)
    }

    fn rest(&mut self, at_the_end: bool) -> Result<u64, SinkError> {
        match &self.client {
            Some(client) if !at_the_end => {
                let looked = self
                    .runtime
                    .block_on(async { timeout(PATIENCE[0], self.look(client)).await });
                looked.map_err(|_| self.late())??;
            }
            _ => {}
        }
        Ok(self.position)
    }
}
