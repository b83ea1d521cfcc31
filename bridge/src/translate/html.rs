//! Matrix's HTML as WhatsApp text.
//!
//! What a sender controls is bounded before it is parsed: the number of tags bounds depth and size of the tree. HTML
//! beyond the bounds is not translated, and the plain body of the message is sent instead.

use ruma::{MatrixToUri, MatrixUri, html::Html, html::NodeRef, matrix_uri::MatrixId};

use super::marks::{Mark, Marks, Run, write_line};

/// Most elements in a message. The parser opens formatting elements again inside later blocks, so the tree can grow with
/// the square of this number.
const MAX_ELEMENTS: usize = 1_000;
/// Deepest nesting, as Matrix recommends.
const MAX_DEPTH: usize = 100;

/// Translates HTML; nothing if it is too large or too deep to be looked at.
pub(super) fn render(html: &str) -> Option<String> {
    if !is_modest(html) {
        return None;
    }
    let html = Html::parse(html);
    let mut page = Page::default();
    for node in html.children() {
        page.node(&node, &Inside::default())?;
    }
    Some(page.finish())
}

/// Whether the number of tags keeps the parser's work small.
fn is_modest(html: &str) -> bool {
    let bytes = html.as_bytes();
    let (mut opening, mut closing) = (0, 0);
    for pair in bytes.windows(2) {
        match pair {
            [b'<', b'/'] => closing += 1,
            [b'<', c] if c.is_ascii_alphabetic() => opening += 1,
            _ => {}
        }
    }
    // Line breaks hold nothing, and long messages have many.
    let breaks: usize = ["<br>", "<br/>", "<br />"]
        .map(|tag| html.matches(tag).count())
        .iter()
        .sum();
    opening - breaks <= MAX_ELEMENTS && closing <= 2 * MAX_ELEMENTS && breaks <= 16 * MAX_ELEMENTS
}

/// What surrounds a node.
#[derive(Clone, Copy, Default)]
struct Inside {
    depth: usize,
    marks: Marks,
}

impl Inside {
    fn with(self, mark: Mark) -> Self {
        Self {
            marks: self.marks.with(mark),
            ..self
        }
    }
}

/// What stands at the beginning of lines.
enum Prefix {
    Quote,
    /// A list item: its marker on the first line, as much space on the others.
    Item {
        marker: String,
        written: bool,
    },
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
    line: Vec<Run>,
    prefixes: Vec<Prefix>,
    /// The last thing was a paragraph: another one is set off by an empty line.
    after_paragraph: bool,
}

impl Page {
    fn finish(mut self) -> String {
        self.end_line();
        while self.lines.last().is_some_and(|line| line.trim().is_empty()) {
            self.lines.pop();
        }
        self.lines.join("\n")
    }

    fn node(&mut self, node: &NodeRef, inside: &Inside) -> Option<()> {
        if inside.depth > MAX_DEPTH {
            return None;
        }
        if let Some(text) = node.as_text() {
            self.text(&text.borrow(), inside.marks);
            return Some(());
        }
        let Some(element) = node.as_element() else {
            return Some(());
        };
        let inside = Inside {
            depth: inside.depth + 1,
            ..*inside
        };
        match &*element.name.local {
            "mx-reply" | "script" | "style" | "head" | "title" | "template" => {}
            "b" | "strong" => self.children(node, &inside.with(Mark::Bold))?,
            "i" | "em" => self.children(node, &inside.with(Mark::Italic))?,
            "s" | "del" | "strike" => self.children(node, &inside.with(Mark::Strike))?,
            "code" | "tt" => self.children(node, &inside.with(Mark::Code))?,
            "a" => self.link(node, attribute(node, "href").unwrap_or_default(), &inside)?,
            "img" => {
                let text = attribute(node, "alt").or_else(|| attribute(node, "title"));
                self.text(&text.unwrap_or_default(), inside.marks);
            }
            "span" => {
                if let Some(reason) = attribute(node, "data-mx-spoiler") {
                    let reason = reason.trim();
                    let colon = if reason.is_empty() { "" } else { ": " };
                    self.text(&format!("[spoiler{colon}{reason}] "), Marks::default());
                }
                self.children(node, &inside)?;
            }
            "br" => self.break_line(),
            "hr" => {
                self.end_line();
                self.text("---", Marks::default());
                self.end_line();
            }
            "p" => {
                self.end_line();
                if std::mem::take(&mut self.after_paragraph) {
                    self.break_line();
                }
                self.children(node, &inside)?;
                self.end_line();
                self.after_paragraph = true;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "summary" | "caption" => {
                self.block(node, &inside.with(Mark::Bold))?;
            }
            "pre" => self.preformatted(node, inside.depth)?,
            "blockquote" => {
                self.end_line();
                self.prefixes.push(Prefix::Quote);
                self.block(node, &inside)?;
                self.prefixes.pop();
            }
            "ul" => self.list(node, None, &inside)?,
            "ol" => {
                let start = attribute(node, "start").and_then(|start| start.parse().ok());
                self.list(node, Some(start.unwrap_or(1)), &inside)?;
            }
            "li" => self.item(node, "- ".to_owned(), &inside)?,
            "td" | "th" => {
                if !self.line.is_empty() {
                    self.push(" | ", Marks::default());
                }
                self.children(node, &inside)?;
            }
            "div" | "table" | "tr" | "details" | "section" | "article" | "center" | "dl" | "dt"
            | "dd" | "header" | "footer" => self.block(node, &inside)?,
            _ => self.children(node, &inside)?,
        }
        Some(())
    }

    fn children(&mut self, node: &NodeRef, inside: &Inside) -> Option<()> {
        node.children()
            .try_for_each(|child| self.node(&child, inside))
    }

    /// Contents on lines of their own.
    fn block(&mut self, node: &NodeRef, inside: &Inside) -> Option<()> {
        self.end_line();
        self.after_paragraph = false;
        self.children(node, inside)?;
        self.end_line();
        self.after_paragraph = false;
        Some(())
    }

    fn list(&mut self, node: &NodeRef, start: Option<i64>, inside: &Inside) -> Option<()> {
        self.end_line();
        let mut number = start;
        for child in node.children() {
            let is_item = child
                .as_element()
                .is_some_and(|element| &*element.name.local == "li");
            if !is_item {
                self.node(&child, inside)?;
                continue;
            }
            let marker = number.map_or_else(|| "- ".to_owned(), |number| format!("{number}. "));
            number = number.map(|number| number.saturating_add(1));
            self.item(&child, marker, inside)?;
        }
        self.end_line();
        self.after_paragraph = false;
        Some(())
    }

    fn item(&mut self, node: &NodeRef, marker: String, inside: &Inside) -> Option<()> {
        self.end_line();
        self.prefixes.push(Prefix::Item {
            marker,
            written: false,
        });
        self.block(node, inside)?;
        self.prefixes.pop();
        Some(())
    }

    fn link(&mut self, node: &NodeRef, href: String, inside: &Inside) -> Option<()> {
        let text = text_of(node, inside.depth)?;
        let text = text.trim();
        self.children(node, inside)?;
        let bare = |address: &str| {
            let address = address.split_once(':').map_or(address, |(_, rest)| rest);
            address
                .trim_start_matches('/')
                .trim_end_matches('/')
                .to_owned()
        };
        let shown = text == href || bare(text) == bare(&href) || text == bare(&href);
        if shown || is_mention(&href) || !is_web_link(&href) || inside.marks.has(Mark::Code) {
            return Some(());
        }
        if text.is_empty() {
            self.push(&href, Marks::default());
        } else {
            self.push(&format!(" ({href})"), Marks::default());
        }
        Some(())
    }

    fn preformatted(&mut self, node: &NodeRef, depth: usize) -> Option<()> {
        self.end_line();
        self.after_paragraph = false;
        let text = text_of(node, depth)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.trim().is_empty() {
            return Some(());
        }
        let fence = if text.contains("```") { "" } else { "```" };
        for line in format!("{fence}{text}{fence}").split('\n') {
            let line = format!("{}{line}", self.prefix());
            self.lines.push(line);
        }
        Some(())
    }

    /// Adds text as HTML shows it: any white space is one space.
    fn text(&mut self, text: &str, marks: Marks) {
        for (i, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            let fresh = self.line.last().is_none_or(|run| run.text.ends_with(' '));
            if i > 0 && !fresh {
                self.push(" ", marks);
            }
            self.push(word, marks);
        }
    }

    fn push(&mut self, text: &str, marks: Marks) {
        if text.is_empty() {
            return;
        }
        match self.line.last_mut() {
            Some(last) if last.marks == marks => last.text.push_str(text),
            _ => self.line.push(Run {
                text: text.to_owned(),
                marks,
            }),
        }
    }

    /// Ends the line if there is one.
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.break_line();
        }
    }

    /// Ends the line, also an empty one.
    fn break_line(&mut self) {
        let mut line = self.prefix();
        let empty = self.line.is_empty();
        write_line(&self.line, &mut line);
        self.line.clear();
        self.after_paragraph = false;
        let quoted = self
            .prefixes
            .iter()
            .any(|prefix| matches!(prefix, Prefix::Quote));
        let kept = if empty && quoted {
            line.len()
        } else {
            line.trim_end().len()
        };
        line.truncate(kept);
        self.lines.push(line);
    }

    fn prefix(&mut self) -> String {
        let mut text = String::new();
        for prefix in &mut self.prefixes {
            match prefix {
                Prefix::Quote => text.push_str("> "),
                Prefix::Item {
                    marker,
                    written: true,
                } => {
                    text.extend(std::iter::repeat_n(' ', marker.len()));
                }
                Prefix::Item { marker, written } => {
                    text.push_str(marker);
                    *written = true;
                }
            }
        }
        text
    }
}

/// The bare text in a node; nothing if it is too deep.
fn text_of(node: &NodeRef, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut text = String::new();
    for child in node.children() {
        if let Some(part) = child.as_text() {
            text.push_str(&part.borrow());
        } else if child
            .as_element()
            .is_some_and(|element| &*element.name.local == "br")
        {
            text.push('\n');
        } else {
            text.push_str(&text_of(&child, depth + 1)?);
        }
    }
    Some(text)
}

fn attribute(node: &NodeRef, name: &str) -> Option<String> {
    let attributes = node.as_element()?.attrs.borrow();
    attributes
        .iter()
        .find(|attribute| &*attribute.name.local == name)
        .map(|a| a.value.to_string())
}

/// A pill: in a chat of two its text, the display name, says it all.
fn is_mention(href: &str) -> bool {
    let is_user = |id: &MatrixId| matches!(id, MatrixId::User(_));
    MatrixToUri::parse(href).is_ok_and(|uri| is_user(uri.id()))
        || MatrixUri::parse(href).is_ok_and(|uri| is_user(uri.id()))
}

/// The schemes that Matrix allows in links.
fn is_web_link(href: &str) -> bool {
    let scheme = href
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    let known = ["https", "http", "ftp", "mailto", "magnet"];
    scheme.is_some_and(|scheme| known.contains(&scheme.as_str()))
        && !href.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests;
