//! Where PostgreSQL's messages begin and end in a stream of bytes.
//!
//! Knows as much of the protocol
//! (<https://www.postgresql.org/docs/15/protocol-message-formats.html>) as it
//! takes to tell when a client waits for an answer and when it has got it.
//! Bytes of another protocol are counted as nonsense and do no harm.

/// Codes in the place of a protocol version, in the client's first message.
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// Which side's messages these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What the messages that ended in some bytes mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// Messages after which the client waits for ReadyForQuery: Sync and Query.
    pub(super) requests: usize,
    /// Start-up messages, after which it waits for it as well.
    pub(super) startups: usize,
    /// ReadyForQuery.
    pub(super) ready: usize,
}

/// A stream of messages in one direction, read as far as it has come.
#[derive(Debug)]
pub(super) struct Messages {
    side: Side,
    /// Whether the part of the stream is over that has forms of its own: the
    /// client's untyped messages, the server's single byte about encryption.
    started: bool,
    /// What has come of the header of the message under way.
    header: Vec<u8>,
    /// What is to come of its body.
    body_bytes: usize,
}

impl Messages {
    pub(super) fn of_client() -> Self {
        Self::of(Side::Client)
    }

    pub(super) fn of_server() -> Self {
        Self::of(Side::Server)
    }

    fn of(side: Side) -> Self {
        Self {
            side,
            started: false,
            header: Vec::new(),
            body_bytes: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Ended {
        let mut ended = Ended::default();
        if self.side == Side::Server && !self.started && !bytes.is_empty() {
            self.started = true;
            // No encryption. A server never begins with a notice, also an N.
            bytes = bytes.strip_prefix(b"N").unwrap_or(bytes);
        }
        while !bytes.is_empty() {
            let wanted = self.header_bytes() - self.header.len();
            let (header, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.header.extend_from_slice(header);
            if header.len() == wanted && wanted > 0 {
                self.body_bytes = self.body_of_header();
            }
            let (body, rest) = rest.split_at(self.body_bytes.min(rest.len()));
            self.body_bytes -= body.len();
            if self.header.len() == self.header_bytes() && self.body_bytes == 0 {
                self.end(&mut ended);
            }
            bytes = rest;
        }
        ended
    }

    /// A typed message has its type and its length, an untyped one its length
    /// and its code.
    fn header_bytes(&self) -> usize {
        if self.is_typed() { 5 } else { 8 }
    }

    fn is_typed(&self) -> bool {
        self.side == Side::Server || self.started
    }

    /// The length counts itself, but not the type.
    fn body_of_header(&self) -> usize {
        let (length_at, counted) = if self.is_typed() { (1, 4) } else { (0, 8) };
        (self.number(length_at) as usize).saturating_sub(counted)
    }

    fn end(&mut self, ended: &mut Ended) {
        match (self.side, self.header[0]) {
            (Side::Client, _) if !self.started => match self.number(4) {
                SSL_REQUEST | GSSENC_REQUEST | CANCEL_REQUEST => {}
                _ => {
                    self.started = true;
                    ended.startups += 1;
                }
            },
            (Side::Client, b'S' | b'Q') => ended.requests += 1,
            (Side::Server, b'Z') => ended.ready += 1,
            _ => {}
        }
        self.header.clear();
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.header[at..at + 4].try_into();
        u32::from_be_bytes(bytes.expect("four bytes were taken"))
    }
}

#[test]
fn messages_are_found_however_their_bytes_arrive() {
    let ssl = [&8_u32.to_be_bytes()[..], &SSL_REQUEST.to_be_bytes()].concat();
    let startup = b"\0\0\0\x0e\0\x03\0\0user\0\0".to_vec();
    let parse = b"P\0\0\0\x08\0S\0\0".to_vec();
    let sync = b"S\0\0\0\x04".to_vec();
    let query = b"Q\0\0\0\x0aBEGIN\0".to_vec();
    let stream = [ssl, startup, parse, sync, query].concat();
    let answers = b"NR\0\0\0\x08\0\0\0\0Z\0\0\0\x05IC\0\0\0\x06Z\0Z\0\0\0\x05T".to_vec();
    for size in 1..=stream.len() {
        let mut total = Ended::default();
        let (mut client, mut server) = (Messages::of_client(), Messages::of_server());
        for bytes in stream.chunks(size) {
            let ended = client.read(bytes);
            total.requests += ended.requests;
            total.startups += ended.startups;
        }
        for bytes in answers.chunks(size) {
            total.ready += server.read(bytes).ready;
        }
        let expected = Ended {
            requests: 2,
            startups: 1,
            ready: 2,
        };
        assert_eq!(total, expected, "in pieces of {size}");
    }
}
