//! How levels are named on the command line, and how rows of text are printed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::bail;

use crate::client::ClientError;
use crate::client::proto::StockKey;

/// `SKU[@LOCATION]`; the server says what is wrong with it.
pub(super) fn parse_level(text: &str) -> Result<StockKey, Infallible> {
    let (sku, location) = text.split_once('@').unwrap_or((text, ""));
    Ok(StockKey {
        sku: sku.to_owned(),
        location: location.to_owned(),
    })
}

/// `KEY=VALUE`.
pub(super) fn parse_label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Labels by their keys.
///
/// # Errors
/// A key comes twice: one of its values would be lost.
pub(super) fn labels(given: Vec<(String, String)>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        if labels.contains_key(&key) {
            bail!("--label {key} must come once");
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// A time as it is printed; a dash where there is none.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Prints lines. False when whoever reads them has seen enough: `stockroom orders | head`.
pub(super) fn print(lines: impl IntoIterator<Item = String>) -> io::Result<bool> {
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

/// Says something on standard error. That nobody reads it is no reason to end.
pub(super) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Ends a command that sent a write: prints the lines of its answer. Of one that had been
/// answered before, which comes with them, `replay` says what the lines are then.
pub(super) fn answered(
    answer: Result<(Vec<String>, bool), ClientError>,
    replay: &str,
) -> anyhow::Result<ExitCode> {
    let (lines, replayed) = match answer {
        Ok(answer) => answer,
        Err(error) => return failed_write(error),
    };
    if replayed {
        tell(format_args!(
            "-- this request had been answered before{replay}"
        ));
    }
    print(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends a command that sent a write which failed: says how to learn what became of it,
/// where the error does not tell.
fn failed_write(error: ClientError) -> anyhow::Result<ExitCode> {
    if let Some(request_id) = error.request_id.as_ref().filter(|_| !error.is_refusal()) {
        tell(format_args!(
            "it may have been done; the same again with --request-id {request_id} tells"
        ));
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn a_label_that_comes_twice_is_named_and_none_is_lost() {
        let given = |texts: &[&str]| {
            let texts = texts.iter().map(|text| super::parse_label(text).unwrap());
            labels(texts.collect())
        };
        let two = given(&["channel=web", "shop=york"]).unwrap();
        assert_eq!((two.len(), &*two["channel"]), (2, "web"));
        for again in ["channel=phone", "channel=web"] {
            let error = given(&["channel=web", "shop=york", again]).expect_err(again);
            assert_eq!(error.to_string(), "--label channel must come once");
        }
    }
}
