//! What a caller wants written, in one piece.

use std::fmt;

use crate::{Error, Fence, Secret, seal::Sealer};

/// Changes that are written together or not at all, in the order in which they were added per table.
///
/// Filled by the functions of the concept modules (`inbox::done(&mut batch, seq)`), written by
/// [`Store::commit`](crate::Store::commit). Statements of one table keep their order; those of different tables may be
/// reordered, so no operation may depend on another table's rows.
#[derive(Default)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) statements: Vec<Statement>,
    pub(crate) fence: Option<Fence>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// How many changes the batch holds.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Adds all of `other`'s changes after this batch's own.
    pub fn append(&mut self, other: Self) {
        self.statements.extend(other.statements);
    }

    /// Makes this batch part of a series: it is refused if an earlier one failed, and refuses the later ones if it fails.
    pub fn fence(&mut self, fence: &Fence) {
        self.fence = Some(fence.clone());
    }

    pub(crate) fn insert(&mut self, insert: &'static Insert, args: Vec<Value>) -> &mut Statement {
        debug_assert_eq!(insert.columns.len(), args.len(), "{}", insert.table);
        self.push(Shape::Insert(insert), args)
    }

    pub(crate) fn delete(&mut self, delete: &'static Delete, args: Vec<Value>) -> &mut Statement {
        debug_assert_eq!(delete.keys.len(), args.len(), "{}", delete.table);
        self.push(Shape::Delete(delete), args)
    }

    pub(crate) fn set(&mut self, set: &'static Set, args: Vec<Value>) -> &mut Statement {
        debug_assert_eq!(set.values + set.keys.len(), args.len(), "{}", set.table);
        self.push(Shape::Set(set), args)
    }

    pub(crate) fn update(&mut self, update: &'static Update, args: Vec<Value>) -> &mut Statement {
        self.push(Shape::Update(update), args)
    }

    fn push(&mut self, shape: Shape, args: Vec<Value>) -> &mut Statement {
        let at = self.statements.len();
        self.statements.push(Statement {
            shape,
            args,
            expect: None,
        });
        &mut self.statements[at]
    }

    /// Replaces every secret by its ciphertext.
    pub(crate) fn seal(&mut self, sealer: &Sealer) -> Result<(), Error> {
        self.statements
            .iter_mut()
            .try_for_each(|statement| statement.seal(sealer))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.statements.iter().map(|s| s.shape.table()))
            .finish()
    }
}

/// One row to insert. The first `key` columns are the row's key.
pub(crate) struct Insert {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) key: usize,
    pub(crate) conflict: OnConflict,
}

/// What an insert does when its key is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// The batch fails.
    Fail,
    /// The row stays as it was.
    Ignore,
    /// All other columns are overwritten.
    Replace,
}

/// Rows to delete by the values of `keys`.
pub(crate) struct Delete {
    pub(crate) table: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// The same columns set to the same values in many rows. The arguments are `values` values, then the key.
pub(crate) struct Set {
    pub(crate) table: &'static str,
    pub(crate) keys: &'static [&'static str],
    pub(crate) values: usize,
    /// Assignments, with the values as `$1` and so on. Setting a row twice must do no more than setting it once.
    pub(crate) set: &'static str,
    /// A further condition, with the same values.
    pub(crate) when: &'static str,
}

/// Any other change of one table. The first `key` arguments are the row's key.
pub(crate) struct Update {
    pub(crate) table: &'static str,
    pub(crate) key: usize,
    pub(crate) sql: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Insert(&'static Insert),
    Delete(&'static Delete),
    Set(&'static Set),
    Update(&'static Update),
}

impl Shape {
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Insert(s) => s.table,
            Self::Delete(s) => s.table,
            Self::Set(s) => s.table,
            Self::Update(s) => s.table,
        }
    }

    pub(crate) fn key(self) -> usize {
        match self {
            Self::Insert(s) => s.key,
            Self::Delete(s) => s.keys.len(),
            Self::Set(_) => 0,
            Self::Update(s) => s.key,
        }
    }

    /// Where the static description lives: two shapes with the same address have the same SQL text.
    pub(crate) fn address(self) -> usize {
        match self {
            Self::Insert(s) => std::ptr::from_ref(s).addr(),
            Self::Delete(s) => std::ptr::from_ref(s).addr(),
            Self::Set(s) => std::ptr::from_ref(s).addr(),
            Self::Update(s) => std::ptr::from_ref(s).addr(),
        }
    }
}

pub(crate) struct Statement {
    pub(crate) shape: Shape,
    pub(crate) args: Vec<Value>,
    pub(crate) expect: Option<u64>,
}

impl Statement {
    /// The whole batch fails unless exactly `rows` rows change.
    pub(crate) fn expect(&mut self, rows: u64) {
        self.expect = Some(rows);
    }

    /// The values that merged statements have in common.
    pub(crate) fn common(&self) -> &[Value] {
        match self.shape {
            Shape::Set(set) => self.args.get(..set.values).unwrap_or_default(),
            _ => &[],
        }
    }

    pub(crate) fn key(&self) -> &[Value] {
        self.args.get(..self.shape.key()).unwrap_or_default()
    }

    fn seal(&mut self, sealer: &Sealer) -> Result<(), Error> {
        if !self
            .args
            .iter()
            .any(|arg| matches!(arg, Value::Secret { .. }))
        {
            return Ok(());
        }
        let table = self.shape.table();
        let key = key_text(self.key());
        for arg in &mut self.args {
            if let Value::Secret { column, secret } = arg {
                let sealed = secret
                    .take()
                    .map(|secret| sealer.seal(place(table, column, &key).as_bytes(), &secret));
                if sealed.as_ref().is_some_and(Vec::is_empty) {
                    return Err(Error::Config(format!(
                        "a value for {table} is too large to seal"
                    )));
                }
                *arg = Value::Bytes(sealed);
            }
        }
        Ok(())
    }
}

/// The associated data of a sealed value.
pub(crate) fn place(table: &str, column: &str, key: &str) -> String {
    format!("{table}|{column}|{key}")
}

/// A key's columns in one text. Lengths in front keep two keys apart whatever they contain.
pub(crate) fn key_text(key: &[Value]) -> String {
    use fmt::Write as _;

    let mut text = String::new();
    for part in key {
        // Writing to a String cannot fail.
        let _ = match part {
            Value::Text(Some(value)) => write!(text, "{}:{value}|", value.len()),
            Value::Int(Some(value)) => write!(text, "{value}|"),
            _ => write!(text, "-|"),
        };
    }
    text
}

/// A bound value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
    /// Sealed on its way into the queue.
    Secret {
        column: &'static str,
        secret: Option<Secret>,
    },
}

impl Value {
    pub(crate) fn secret(column: &'static str, secret: impl Into<Option<Secret>>) -> Self {
        Self::Secret {
            column,
            secret: secret.into(),
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Option<&[u8]>> for Value {
    fn from(value: Option<&[u8]>) -> Self {
        Self::Bytes(value.map(<[u8]>::to_vec))
    }
}

/// Bound values in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::batch::Value::from($value)),*] };
}

/// The values of a row's key, to open what is sealed in it.
macro_rules! key {
    ($($value:expr),* $(,)?) => { [$($crate::batch::Value::from($value)),*] };
}
pub(crate) use {args, key};
