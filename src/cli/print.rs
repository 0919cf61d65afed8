//! How what a command has to say is printed.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::client::proto::{MovementKind, OrderState};

/// A time as it is printed; a dash where there is none.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// `ORDERED` for `MOVEMENT_KIND_ORDERED`.
pub(super) fn kind(kind: MovementKind) -> &'static str {
    kind.as_str_name().trim_start_matches("MOVEMENT_KIND_")
}

/// `PENDING` for `ORDER_STATE_PENDING`.
pub(super) fn state(state: OrderState) -> &'static str {
    state.as_str_name().trim_start_matches("ORDER_STATE_")
}

/// The text with `\n` or `\u{1b}` in place of each character that would end its line or make
/// a terminal do something: names, notes and labels are whatever somebody wrote.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_more_than_text(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_more_than_text(c: char) -> bool {
    // Separators of lines, and what turns the direction of the text behind it.
    let is_layout =
        matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_layout
}

/// Prints lines, of each one line whatever is in it. False when whoever reads them has seen
/// enough: `stockroom orders | head`.
pub(super) fn print(lines: impl IntoIterator<Item = String>) -> io::Result<bool> {
    print_raw(lines.into_iter().map(|line| escaped(&line)))
}

/// As [`print()`], and as they are: for programs, or laid out already.
pub(super) fn print_raw(lines: impl IntoIterator<Item = String>) -> io::Result<bool> {
    let text: String = lines
        .into_iter()
        .flat_map(|line| [line, "\n".to_owned()])
        .collect();
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Says something on standard error, in as many lines as it has. That nobody reads it is no
/// reason to end.
pub(super) fn tell(text: impl Display) {
    let mut out = io::stderr().lock();
    for line in text.to_string().split('\n') {
        let _ = writeln!(out, "{}", escaped(line));
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_text_ends_no_line_and_moves_no_cursor() {
        for (text, shown) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[2J\u{9b}1m\u{7f}", r"\u{1b}[2J\u{9b}1m\u{7f}"),
            ("a\u{2028}b\u{202e}c", r"a\u{2028}b\u{202e}c"),
            // Text, combining marks too.
            (r#"12" \ 's é 花"#, r#"12" \ 's é 花"#),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }
}
