//! Merging the statements of a group.
//!
//! Every statement touches one table and reads no other, so statements of different tables can change places. Grouped by
//! table, neighbours of the same kind become one statement with many rows, in powers of two up to [`MAX_ROWS`] so that few
//! texts are prepared. This is what makes many small batches cheap: a round trip costs more than the row.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use crate::{
    Backend,
    batch::{Delete, Insert, OnConflict, Set, Shape, Statement, Value, key_text},
};

/// Rows in one statement; a power of two.
const MAX_ROWS: usize = 64;

/// A statement to execute.
pub(super) struct Run<'a> {
    pub(super) table: &'static str,
    pub(super) sql: Arc<str>,
    pub(super) rows: Vec<&'a [Value]>,
    /// Rows that must change in all.
    pub(super) expect: Option<u64>,
}

impl<'a> Run<'a> {
    pub(super) fn args(&self) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().flat_map(|row| row.iter())
    }
}

/// Plans groups and remembers the texts.
pub(super) struct Planner {
    engine: Backend,
    texts: HashMap<(usize, usize), Arc<str>>,
}

impl Planner {
    pub(super) fn new(engine: Backend) -> Self {
        Self {
            engine,
            texts: HashMap::new(),
        }
    }

    pub(super) fn plan<'a>(
        &mut self,
        statements: impl IntoIterator<Item = &'a Statement>,
    ) -> Vec<Run<'a>> {
        let mut tables: Vec<(&'static str, Vec<&'a Statement>)> = Vec::new();
        for statement in statements {
            let table = statement.shape.table();
            match tables.iter_mut().find(|(name, _)| *name == table) {
                Some((_, statements)) => statements.push(statement),
                None => tables.push((table, vec![statement])),
            }
        }
        let mut runs = Vec::new();
        for (_, statements) in tables {
            let mut rest = statements.as_slice();
            while let Some((first, _)) = rest.split_first() {
                let length = stretch(rest);
                let (same, later) = rest.split_at(length);
                self.merge(first, same, &mut runs);
                rest = later;
            }
        }
        runs
    }

    /// Adds one stretch of statements of the same shape.
    fn merge<'a>(&mut self, first: &Statement, same: &[&'a Statement], runs: &mut Vec<Run<'a>>) {
        let latest = match first.shape {
            // Of several full replacements of a row only the last one counts.
            Shape::Insert(insert) if insert.conflict == OnConflict::Replace => latest(same),
            _ => same.to_vec(),
        };
        let mut rest = latest.as_slice();
        while !rest.is_empty() {
            let rows = (1 << rest.len().ilog2()).min(MAX_ROWS);
            let (now, later) = rest.split_at(rows);
            runs.push(Run {
                table: first.shape.table(),
                sql: self.text(first.shape, rows),
                rows: rows_of(now),
                expect: now
                    .iter()
                    .try_fold(0, |sum, statement| Some(sum + statement.expect?)),
            });
            rest = later;
        }
    }

    fn text(&mut self, shape: Shape, rows: usize) -> Arc<str> {
        let engine = self.engine;
        self.texts
            .entry((shape.address(), rows))
            .or_insert_with(|| match shape {
                Shape::Insert(insert) => insert_text(insert, rows).into(),
                Shape::Delete(delete) => delete_text(engine, delete, rows).into(),
                Shape::Set(set) => set_text(engine, set, rows).into(),
                Shape::Update(update) => update.sql.into(),
            })
            .clone()
    }
}

/// How many statements from the start can become one.
fn stretch(statements: &[&Statement]) -> usize {
    let Some((first, rest)) = statements.split_first() else {
        return 0;
    };
    if matches!(first.shape, Shape::Update(_)) {
        return 1;
    }
    1 + rest
        .iter()
        .take_while(|next| {
            next.shape.address() == first.shape.address()
                && next.common() == first.common()
                && next.expect.is_some() == first.expect.is_some()
        })
        .count()
}

/// The bound values of merged statements: those in common once, then each one's own.
fn rows_of<'a>(statements: &[&'a Statement]) -> Vec<&'a [Value]> {
    let common = statements
        .first()
        .map(|first| first.common())
        .unwrap_or_default();
    let own = statements
        .iter()
        .filter_map(|statement| statement.args.get(common.len()..));
    std::iter::once(common).chain(own).collect()
}

fn latest<'a>(statements: &[&'a Statement]) -> Vec<&'a Statement> {
    if statements.len() == 1 {
        return statements.to_vec();
    }
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = statements
        .iter()
        .rev()
        .filter(|statement| seen.insert(key_text(statement.key())))
        .copied()
        .collect();
    kept.reverse();
    kept
}

// Writing to a String cannot fail, hence the ignored results.

fn insert_text(insert: &Insert, rows: usize) -> String {
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES ",
        insert.table,
        insert.columns.join(", ")
    );
    tuples(&mut sql, insert.columns.len(), rows, 0);
    let key = insert
        .columns
        .iter()
        .take(insert.key)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match insert.conflict {
        OnConflict::Fail => return sql,
        OnConflict::Ignore => {
            sql.push_str(" ON CONFLICT DO NOTHING");
            return sql;
        }
        OnConflict::Replace => {}
    }
    let columns = insert.columns.get(insert.key..).unwrap_or_default();
    let set: Vec<_> = columns
        .iter()
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let _ = write!(sql, " ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "));
    sql
}

fn delete_text(engine: Backend, delete: &Delete, rows: usize) -> String {
    let mut sql = format!("DELETE FROM {} WHERE ", delete.table);
    condition(&mut sql, engine, delete.keys, rows, 0);
    sql
}

fn set_text(engine: Backend, set: &Set, rows: usize) -> String {
    let mut sql = format!(
        "UPDATE {} SET {} WHERE {} AND ",
        set.table, set.set, set.when
    );
    condition(&mut sql, engine, set.keys, rows, set.values);
    sql
}

/// That the key is one of `rows` keys, bound from `$bound + 1` on. Each engine finds many keys by its index only when asked
/// in its own way: SQLite would read the whole table for `VALUES`, PostgreSQL plans long for `OR`.
fn condition(sql: &mut String, engine: Backend, keys: &[&str], rows: usize, bound: usize) {
    if rows > 1 && (engine == Backend::Postgres || keys.len() == 1) {
        let _ = write!(sql, "({}) IN (VALUES ", keys.join(", "));
        tuples(sql, keys.len(), rows, bound);
        sql.push(')');
        return;
    }
    for row in 0..rows {
        sql.push_str(if row == 0 { "((" } else { " OR (" });
        for (column, key) in keys.iter().enumerate() {
            let and = if column == 0 { "" } else { " AND " };
            let _ = write!(
                sql,
                "{and}{key} = ${}",
                bound + row * keys.len() + column + 1
            );
        }
        sql.push(')');
    }
    sql.push(')');
}

/// `($1, $2), ($3, $4)`, bound from `$bound + 1` on.
fn tuples(sql: &mut String, width: usize, rows: usize, bound: usize) {
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..width {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}${}", bound + row * width + column + 1);
        }
        sql.push(')');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Batch,
        batch::{Update, args},
    };

    static PUT: Insert = Insert {
        table: "t",
        columns: &["a", "b", "c"],
        key: 2,
        conflict: OnConflict::Replace,
    };
    static NEW: Insert = Insert {
        table: "u",
        columns: &["a"],
        key: 1,
        conflict: OnConflict::Ignore,
    };
    static DROP: Delete = Delete {
        table: "t",
        keys: &["a", "b"],
    };
    static GONE: Delete = Delete {
        table: "u",
        keys: &["a"],
    };
    static SET: Update = Update {
        table: "t",
        key: 1,
        sql: "UPDATE t SET c = $2 WHERE a = $1",
    };

    fn texts(batch: &Batch) -> Vec<(String, usize, Option<u64>)> {
        Planner::new(Backend::Sqlite)
            .plan(&batch.statements)
            .iter()
            .map(|run| (run.sql.to_string(), run.args().count(), run.expect))
            .collect()
    }

    #[test]
    fn merges_per_table_and_keeps_the_last_replacement() {
        let mut batch = Batch::new();
        for i in 0..3_i64 {
            batch.insert(&PUT, args!["x", i % 2, i]);
            batch.insert(&NEW, args![i]).expect(1);
        }
        let put = "INSERT INTO t (a, b, c) VALUES ($1, $2, $3), ($4, $5, $6) \
                   ON CONFLICT (a, b) DO UPDATE SET c = excluded.c";
        let new = "INSERT INTO u (a) VALUES ($1), ($2) ON CONFLICT DO NOTHING";
        let one = "INSERT INTO u (a) VALUES ($1) ON CONFLICT DO NOTHING";
        assert_eq!(
            texts(&batch),
            [
                (put.into(), 6, None),
                (new.into(), 2, Some(2)),
                (one.into(), 1, Some(1))
            ]
        );
        let mut planner = Planner::new(Backend::Sqlite);
        let runs = planner.plan(&batch.statements);
        let kept: Vec<_> = runs[0]
            .rows
            .iter()
            .filter(|row| !row.is_empty())
            .map(|row| key_text(row))
            .collect();
        assert_eq!(kept, ["1:x|1|1|", "1:x|0|2|"]);
    }

    #[test]
    fn keeps_the_order_within_a_table() {
        let mut batch = Batch::new();
        batch.insert(&PUT, args!["x", 1_i64, 1_i64]);
        batch.update(&SET, args!["x", 5_i64]);
        batch.update(&SET, args!["x", 6_i64]);
        batch.delete(&DROP, args!["x", 1_i64]);
        batch.delete(&DROP, args!["x", 2_i64]);
        batch.insert(&PUT, args!["x", 1_i64, 2_i64]);
        batch.delete(&GONE, args![1_i64]).expect(1);
        batch.delete(&GONE, args![2_i64]).expect(1);
        let texts: Vec<_> = texts(&batch).into_iter().map(|(sql, ..)| sql).collect();
        assert_eq!(texts.len(), 6);
        assert_eq!(
            texts[3],
            "DELETE FROM t WHERE ((a = $1 AND b = $2) OR (a = $3 AND b = $4))"
        );
        assert_eq!(texts[5], "DELETE FROM u WHERE (a) IN (VALUES ($1), ($2))");
    }

    #[test]
    fn merges_rows_that_get_the_same_values() {
        static ADVANCE: Set = Set {
            table: "t",
            keys: &["a", "b"],
            values: 1,
            set: "c = $1",
            when: "c < $1",
        };

        let mut batch = Batch::new();
        for (value, key) in [(5_i64, 1_i64), (5, 2), (6, 1)] {
            batch.set(&ADVANCE, args![value, "x", key]);
        }
        let set = "UPDATE t SET c = $1 WHERE c < $1 AND ";
        let two = format!("{set}((a = $2 AND b = $3) OR (a = $4 AND b = $5))");
        let one = format!("{set}((a = $2 AND b = $3))");
        assert_eq!(texts(&batch), [(two, 5, None), (one.clone(), 3, None)]);

        let mut postgres = Planner::new(Backend::Postgres);
        let runs = postgres.plan(&batch.statements);
        let two = format!("{set}(a, b) IN (VALUES ($2, $3), ($4, $5))");
        assert_eq!([&*runs[0].sql, &*runs[1].sql], [&*two, &*one]);
    }
}
