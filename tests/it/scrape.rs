//! What the HTTP port says, read by hand: a client library would hide its form.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer of the HTTP port.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// Asks for a path.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    // The server closes the connection behind its answer.
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: header("content-type: "),
        body: body.to_owned(),
    }
}

/// What one scrape brought.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// `name{label="value"}` and its value.
    pub(crate) series: BTreeMap<String, f64>,
    /// Name and type: counter, gauge, histogram, summary, untyped.
    pub(crate) types: BTreeMap<String, String>,
    /// Names that have a help text.
    pub(crate) helped: BTreeSet<String>,
}

impl Scrape {
    pub(crate) async fn of(addr: SocketAddr) -> Self {
        let answer = get(addr, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.content_type,
            "text/plain; version=0.0.4; charset=utf-8"
        );
        let mut scrape = Self::default();
        for line in answer.body.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, text] => {
                    assert!(!text.is_empty(), "{line}");
                    scrape.helped.insert(name.to_owned());
                }
                ["#", "TYPE", name, kind] => {
                    let before = scrape.types.insert(name.to_owned(), kind.to_owned());
                    assert!(before.is_none(), "{name} comes twice");
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    let value = value.parse().unwrap();
                    let before = scrape.series.insert(series.to_owned(), value);
                    assert!(before.is_none(), "{series} comes twice");
                }
            }
        }
        scrape
    }

    /// The value of a series.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.series.get(series);
        *value.unwrap_or_else(|| panic!("{series} is not in {:#?}", self.series))
    }

    /// The series of a metric that are not 0, without the metric's name.
    pub(crate) fn counted(&self, metric: &str) -> BTreeMap<&str, f64> {
        self.series
            .iter()
            .filter(|(_, value)| **value != 0.0)
            .filter_map(|(series, value)| Some((series.strip_prefix(metric)?, *value)))
            .collect()
    }
}
