//! One way to ask either database.

use sqlx::{
    AssertSqlSafe, Column as _, PgPool, Row as _, SqlitePool,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{
    Error, Secret,
    batch::{Value, key_text, place},
    seal::Sealer,
};

/// The reading side. Every query text is shared: `$n` placeholders, no function that only one of them has.
#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    pub(crate) async fn fetch<T>(
        &self,
        sql: &'static str,
        args: Vec<Value>,
        sealer: &Sealer,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query_with(sql, sqlite_args(&args)?)
                    .fetch_all(pool)
                    .await?;
                rows.into_iter()
                    .map(|row| {
                        read(&Row {
                            row: AnyRow::Sqlite(row),
                            sealer,
                        })
                    })
                    .collect()
            }
            Self::Postgres(pool) => {
                let rows = sqlx::query_with(sql, postgres_args(&args)?)
                    .fetch_all(pool)
                    .await?;
                rows.into_iter()
                    .map(|row| {
                        read(&Row {
                            row: AnyRow::Postgres(row),
                            sealer,
                        })
                    })
                    .collect()
            }
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Query text put together by this crate from its own constants; outside input is always bound.
pub(crate) fn own_sql(text: impl Into<std::sync::Arc<str>>) -> AssertSqlSafe<std::sync::Arc<str>> {
    AssertSqlSafe(text.into())
}

pub(crate) fn sqlite_args<'a>(
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<SqliteArguments, Error> {
    use sqlx::Arguments as _;

    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.clone()),
            Value::Int(int) => arguments.add(*int),
            Value::Bytes(bytes) => arguments.add(bytes.clone()),
            Value::Secret { .. } => return Err(unsealed()),
        }
        .map_err(|e| Error::Database(e.to_string()))?;
    }
    Ok(arguments)
}

pub(crate) fn postgres_args<'a>(
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<PgArguments, Error> {
    use sqlx::Arguments as _;

    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Int(int) => arguments.add(*int),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
            Value::Secret { .. } => return Err(unsealed()),
        }
        .map_err(|e| Error::Database(e.to_string()))?;
    }
    Ok(arguments)
}

fn unsealed() -> Error {
    Error::Database("a secret reached the database layer unsealed".to_owned())
}

enum AnyRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row of either database, read by column position.
pub(crate) struct Row<'a> {
    row: AnyRow,
    sealer: &'a Sealer,
}

macro_rules! getters {
    ($($name:ident, $optional:ident: $type:ty;)*) => { $(
        pub(crate) fn $name(&self, at: usize) -> Result<$type, Error> {
            match &self.row {
                AnyRow::Sqlite(row) => row.try_get(at),
                AnyRow::Postgres(row) => row.try_get(at),
            }
            .map_err(|_| self.unreadable(at))
        }

        pub(crate) fn $optional(&self, at: usize) -> Result<Option<$type>, Error> {
            match &self.row {
                AnyRow::Sqlite(row) => row.try_get(at),
                AnyRow::Postgres(row) => row.try_get(at),
            }
            .map_err(|_| self.unreadable(at))
        }
    )* };
}

impl Row<'_> {
    getters! {
        text, opt_text: String;
        int, opt_int: i64;
        bytes, opt_bytes: Vec<u8>;
    }

    pub(crate) fn bool(&self, at: usize) -> Result<bool, Error> {
        Ok(self.int(at)? != 0)
    }

    pub(crate) fn u32(&self, at: usize) -> Result<u32, Error> {
        u32::try_from(self.int(at)?).map_err(|_| self.unreadable(at))
    }

    /// A sealed column. `key` are the values of the row's key as they were when it was written.
    pub(crate) fn secret(
        &self,
        at: usize,
        table: &'static str,
        column: &'static str,
        key: &[Value],
    ) -> Result<Secret, Error> {
        self.opt_secret(at, table, column, key)?
            .ok_or_else(|| Error::corrupt(table, format_args!("{column} is missing")))
    }

    pub(crate) fn opt_secret(
        &self,
        at: usize,
        table: &'static str,
        column: &'static str,
        key: &[Value],
    ) -> Result<Option<Secret>, Error> {
        let Some(sealed) = self.opt_bytes(at)? else {
            return Ok(None);
        };
        self.sealer
            .open(place(table, column, &key_text(key)).as_bytes(), &sealed)
            .map(Some)
            .ok_or_else(|| Error::corrupt(table, format_args!("{column} cannot be unsealed")))
    }

    fn unreadable(&self, at: usize) -> Error {
        let column = match &self.row {
            AnyRow::Sqlite(row) => row.columns().get(at).map(|c| c.name().to_owned()),
            AnyRow::Postgres(row) => row.columns().get(at).map(|c| c.name().to_owned()),
        };
        Error::corrupt(
            "a result row",
            format_args!("column {at} ({column:?}) has another type"),
        )
    }
}
