//! What came of it, point after point.

use std::fmt;
use std::time::Duration;

use tests::torture::model::Findings;

use crate::scenes::Scene;

/// One death and what came after it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) point: String,
    pub(crate) scene: Scene,
    /// Whether gatehouse died there.
    pub(crate) killed: bool,
    pub(crate) findings: Findings,
    /// What is wrong, in words.
    pub(crate) details: Vec<String>,
    /// From the new start until everything of the scene was where it belongs.
    pub(crate) recovery: Duration,
}

impl Row {
    pub(crate) fn new(point: &str, scene: Scene) -> Self {
        Self {
            point: point.to_owned(),
            scene,
            killed: false,
            findings: Findings::default(),
            details: Vec::new(),
            recovery: Duration::ZERO,
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.killed && self.findings.is_clean() && self.details.is_empty()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}): ", self.point, self.scene)?;
        match (self.killed, self.is_clean()) {
            (false, _) => write!(f, "not killed there: {}", self.details.join("; ")),
            (true, true) => write!(f, "clean after {} ms", self.recovery.as_millis()),
            (true, false) => write!(f, "{}; {}", self.findings, self.details.join("; ")),
        }
    }
}

/// All deaths with one database.
#[derive(Debug)]
pub(crate) struct Table {
    database: String,
    rows: Vec<Row>,
    late: Findings,
    late_details: Vec<String>,
}

impl Table {
    pub(crate) fn new(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            rows: Vec::new(),
            late: Findings::default(),
            late_details: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// What the last look at all chats found.
    pub(crate) fn late(&mut self, findings: Findings, details: Vec<String>) {
        self.late = findings;
        self.late_details = details;
    }

    pub(crate) fn is_clean(&self) -> bool {
        !self.rows.is_empty()
            && self.rows.iter().all(Row::is_clean)
            && self.late.is_clean()
            && self.late_details.is_empty()
    }

    /// The rows that are not clean.
    pub(crate) fn complaints(&self) -> String {
        let rows = self.rows.iter().filter(|row| !row.is_clean());
        let mut lines: Vec<String> = rows.map(Row::to_string).collect();
        lines.extend(
            self.late_details
                .iter()
                .map(|line| format!("in the end: {line}")),
        );
        lines.join("\n")
    }

    #[expect(clippy::print_stdout, reason = "the table is what people want to see")]
    pub(crate) fn print(&self) {
        println!("{self}");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| point | database | direction | killed | result | recovery |"
        )?;
        writeln!(f, "|---|---|---|---|---|---:|")?;
        for row in &self.rows {
            let Findings {
                lost,
                doubled,
                reordered,
                undecryptable,
                wrong,
                status,
            } = row.findings;
            writeln!(
                f,
                "| {} | {} | {} | {} | {lost}/{doubled}/{reordered}/{undecryptable}/{wrong}/{status} | {} ms |",
                row.point,
                self.database,
                row.scene.way(),
                if row.killed { "yes" } else { "no" },
                row.recovery.as_millis(),
            )?;
        }
        let mut times: Vec<_> = self.rows.iter().map(|row| row.recovery).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).map_or(0, Duration::as_millis);
        let worst = times.last().map_or(0, Duration::as_millis);
        writeln!(f)?;
        writeln!(
            f,
            "{}: {} deaths at {} points, median recovery {median} ms, worst {worst} ms; result: lost/doubled/out of order/unreadable/wrong/wrong status",
            self.database,
            self.rows.iter().filter(|row| row.killed).count(),
            self.points(),
        )
    }
}

impl Table {
    fn points(&self) -> usize {
        let mut points: Vec<_> = self.rows.iter().map(|row| &row.point).collect();
        points.sort_unstable();
        points.dedup();
        points.len()
    }
}
