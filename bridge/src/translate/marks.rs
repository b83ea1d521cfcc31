//! WhatsApp's marks: text that stands between `*` (bold), `_` (italic), `~` (strike) or a back-tick (code).
//!
//! A mark counts only at the edge of words: before an opening one and behind a closing one there is no letter or digit, and
//! the text between begins and ends without a space. It never spans lines.

/// The ways in which text may stand out, several at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

/// One of the ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Bold,
    Italic,
    Strike,
    Code,
}

impl Mark {
    /// Outer ones first, where two cover the same text. Code is the innermost: nothing counts inside it.
    pub(super) const ALL: [Self; 4] = [Self::Bold, Self::Italic, Self::Strike, Self::Code];

    pub(super) fn sign(self) -> char {
        match self {
            Self::Bold => '*',
            Self::Italic => '_',
            Self::Strike => '~',
            Self::Code => '`',
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Marks {
    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & mark.bit() != 0
    }

    #[must_use]
    pub(super) fn with(self, mark: Mark) -> Self {
        Self(self.0 | mark.bit())
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A piece of a line in which all characters have the same marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) marks: Marks,
}

/// Whether a character belongs to a word, so that a mark beside it does not count.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric()
}

/// Writes a line. Marks that WhatsApp would not honour where they stand (in the middle of a word, around their own
/// sign) are left out, because they would show as stray signs.
pub(super) fn write_line(runs: &[Run], out: &mut String) {
    write(runs, Marks::default(), None, out);
}

/// `done` are the marks that are open around `runs`, `after` is what follows them.
fn write(runs: &[Run], done: Marks, after: Option<char>, out: &mut String) {
    let mut rest = runs;
    while let Some((first, others)) = rest.split_first() {
        let open = first.marks.without(done);
        let longest = Mark::ALL
            .into_iter()
            .filter(|mark| open.has(*mark))
            .map(|mark| {
                (
                    rest.iter().take_while(|run| run.marks.has(mark)).count(),
                    mark,
                )
            })
            // `max_by_key` takes the last of equals, and the first is wanted.
            .rev()
            .max_by_key(|(length, _)| *length);
        let Some((length, mark)) = longest else {
            out.push_str(&first.text);
            rest = others;
            continue;
        };
        let (group, following) = rest.split_at(length);
        let next = following.iter().find_map(|run| {
            let marked = run.marks.without(done) != Marks::default();
            // Another mark will stand there, and a sign is no part of a word.
            if marked {
                Some(mark.sign())
            } else {
                run.text.chars().next()
            }
        });
        write_marked(group, mark, done, next.or(after), out);
        rest = following;
    }
}

fn write_marked(group: &[Run], mark: Mark, done: Marks, after: Option<char>, out: &mut String) {
    let whole: String = group.iter().map(|run| run.text.as_str()).collect();
    let text = whole.trim();
    let lead = whole.len() - whole.trim_start().len();
    out.push_str(whole.get(..lead).unwrap_or_default());
    if text.is_empty() {
        return;
    }
    let tail = whole.get(lead + text.len()..).unwrap_or_default();
    let after = tail.chars().next().or(after);
    let core = cut(group, lead, lead + text.len());
    let counts = !out.chars().next_back().is_some_and(is_word)
        && !after.is_some_and(is_word)
        && !text.contains(mark.sign());
    let inner = done.with(mark);
    match (counts, mark) {
        (true, Mark::Code) => {
            out.push('`');
            out.push_str(text);
            out.push('`');
        }
        (true, _) => {
            out.push(mark.sign());
            write(&core, inner, Some(mark.sign()), out);
            out.push(mark.sign());
        }
        (false, _) => write(&core, inner, after, out),
    }
    out.push_str(tail);
}

/// The runs between two byte positions of their joined text.
fn cut(runs: &[Run], from: usize, to: usize) -> Vec<Run> {
    let mut start = 0;
    let mut cut = Vec::with_capacity(runs.len());
    for run in runs {
        let end = start + run.text.len();
        let (a, b) = (from.max(start), to.min(end));
        if let Some(text) = (a < b)
            .then(|| run.text.get(a - start..b - start))
            .flatten()
        {
            cut.push(Run {
                text: text.to_owned(),
                marks: run.marks,
            });
        }
        start = end;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(runs: &[(&str, &[Mark])]) -> String {
        let runs: Vec<Run> = runs
            .iter()
            .map(|(text, marks)| Run {
                text: (*text).to_owned(),
                marks: marks
                    .iter()
                    .fold(Marks::default(), |marks, mark| marks.with(*mark)),
            })
            .collect();
        let mut out = String::new();
        write_line(&runs, &mut out);
        out
    }

    #[test]
    fn marks_nest_and_stand_side_by_side() {
        use Mark::{Bold, Code, Italic, Strike};
        assert_eq!(line(&[("a", &[Bold])]), "*a*");
        assert_eq!(line(&[("a", &[Bold]), (" b", &[Bold, Italic])]), "*a _b_*");
        assert_eq!(
            line(&[("a ", &[Bold, Italic]), ("b", &[Italic])]),
            "_*a* b_"
        );
        assert_eq!(
            line(&[("a", &[Bold]), (" ", &[]), ("b", &[Strike])]),
            "*a* ~b~"
        );
        assert_eq!(line(&[("a", &[Bold, Code])]), "*`a`*");
        assert_eq!(line(&[(" a ", &[Bold]), ("b", &[])]), " *a* b");
        assert_eq!(line(&[("a", &[Bold]), ("b", &[Italic])]), "*a*_b_");
    }

    #[test]
    fn marks_that_would_not_count_are_left_out() {
        use Mark::{Bold, Code};
        assert_eq!(
            line(&[("un", &[]), ("believ", &[Bold]), ("able", &[])]),
            "unbelievable"
        );
        assert_eq!(line(&[("2*3", &[Bold])]), "2*3");
        assert_eq!(line(&[("a`b", &[Code])]), "a`b");
        assert_eq!(line(&[("  ", &[Bold])]), "  ");
    }
}
