//! One line: marks inside it as HTML.

use crate::translate::marks::is_word;

/// The signs that mark text, with their HTML; code is found before them.
const SIGNS: [(char, &str); 3] = [('*', "strong"), ('_', "em"), ('~', "del")];

/// Writes a line as HTML; true if anything in it was marked.
pub(super) fn write(line: &str, html: &mut String) -> bool {
    let tokens = tokens(line);
    let closers = SIGNS.map(|(sign, _)| {
        (0..tokens.len())
            .filter(|at| closes(&tokens, *at, sign))
            .collect::<Vec<usize>>()
    });
    let mut writer = Writer {
        tokens: &tokens,
        closers: &closers,
        html,
        marked: false,
    };
    writer.range(0, tokens.len(), [false; 3]);
    writer.marked
}

/// Writes text so that HTML shows it as it is.
pub(super) fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
}

/// A part of a line inside which no mark counts.
enum Token<'a> {
    Char(char),
    Code(&'a str),
    Link(&'a str),
}

impl Token<'_> {
    fn is_space(&self) -> bool {
        matches!(self, Self::Char(c) if c.is_whitespace())
    }

    fn is_word(&self) -> bool {
        match self {
            Self::Char(c) => is_word(*c),
            Self::Code(_) => false,
            Self::Link(_) => true,
        }
    }

    fn is(&self, sign: char) -> bool {
        matches!(self, Self::Char(c) if *c == sign)
    }
}

fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let (token, length) = if let Some((code, length)) = code_at(rest) {
            (Token::Code(code), length)
        } else if let Some(link) = link_at(rest) {
            (Token::Link(link), link.len())
        } else {
            (Token::Char(c), c.len_utf8())
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// Text between back-ticks, one or three, at the beginning of `text`, and how long it is with them.
fn code_at(text: &str) -> Option<(&str, usize)> {
    for fence in ["```", "`"] {
        let Some(inner) = text.strip_prefix(fence) else {
            continue;
        };
        let Some(end) = inner.find(fence) else {
            continue;
        };
        let code = inner.get(..end)?;
        if !code.trim().is_empty() && !code.starts_with('`') {
            return Some((code, end + 2 * fence.len()));
        }
    }
    None
}

/// A web address at the beginning of `text`, without the punctuation that ends a sentence and without closing marks.
fn link_at(text: &str) -> Option<&str> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return None;
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'));
    let link = text.get(..end.unwrap_or(text.len()))?;
    let link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '\'', '*', '_', '~', '`']);
    let (_, host) = link.split_once("://")?;
    (!host.is_empty()).then_some(link)
}

fn opens(tokens: &[Token<'_>], at: usize, sign: char) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    tokens.get(at).is_some_and(|token| token.is(sign))
        && !before.is_some_and(Token::is_word)
        && tokens
            .get(at + 1)
            .is_some_and(|next| !next.is_space() && !next.is(sign))
}

fn closes(tokens: &[Token<'_>], at: usize, sign: char) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    tokens.get(at).is_some_and(|token| token.is(sign))
        && before.is_some_and(|before| !before.is_space() && !before.is(sign))
        && !tokens.get(at + 1).is_some_and(Token::is_word)
}

struct Writer<'a> {
    tokens: &'a [Token<'a>],
    /// Where each sign may close, in order.
    closers: &'a [Vec<usize>; 3],
    html: &'a mut String,
    marked: bool,
}

impl Writer<'_> {
    /// Writes the tokens from `at` to before `end`; `inside` are the signs that are open around them.
    fn range(&mut self, mut at: usize, end: usize, inside: [bool; 3]) {
        while at < end {
            match self.marked_at(at, end, inside) {
                Some((which, tag, close)) => {
                    self.marked = true;
                    self.html.push_str(&format!("<{tag}>"));
                    let mut inner = inside;
                    if let Some(open) = inner.get_mut(which) {
                        *open = true;
                    }
                    self.range(at + 1, close, inner);
                    self.html.push_str(&format!("</{tag}>"));
                    at = close + 1;
                }
                None => {
                    self.token(at);
                    at += 1;
                }
            }
        }
    }

    /// The mark that opens at `at` and closes before `end`: its number, its tag, where it closes.
    fn marked_at(
        &self,
        at: usize,
        end: usize,
        inside: [bool; 3],
    ) -> Option<(usize, &'static str, usize)> {
        let (which, (_, tag)) = SIGNS
            .into_iter()
            .enumerate()
            .find(|(_, (sign, _))| opens(self.tokens, at, *sign))?;
        if inside.get(which).copied().unwrap_or(true) {
            return None;
        }
        let closers = self.closers.get(which)?;
        let close = *closers.get(closers.partition_point(|close| *close < at + 2))?;
        (close < end).then_some((which, tag, close))
    }

    fn token(&mut self, at: usize) {
        match self.tokens.get(at) {
            Some(Token::Char(c)) => escape(c.encode_utf8(&mut [0; 4]), self.html),
            Some(Token::Code(code)) => {
                self.marked = true;
                self.html.push_str("<code>");
                escape(code, self.html);
                self.html.push_str("</code>");
            }
            Some(Token::Link(link)) => {
                self.html.push_str("<a href=\"");
                escape(link, self.html);
                self.html.push_str("\">");
                escape(link, self.html);
                self.html.push_str("</a>");
            }
            None => {}
        }
    }
}
