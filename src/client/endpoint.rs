//! Where a server is, as callers write it, and what connections to it are like.

use std::num::NonZeroU16;
use std::time::Duration;

use tonic::Code;
use tonic::transport::Endpoint;

use super::ClientError;

/// A server that does not answer a SYN within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that carries only quiet watches is probed this often, and given
/// up when the probe is not answered: TCP alone would take many minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that may be under way before the reader has taken them. HTTP/2's
/// default of 64 KiB stalls a snapshot of many levels at every round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The most that HTTP/2 can grant: what is under way is bounded by the streams' windows.
/// h2 (since 0.4.16) cuts a connection whose unread frames of less than 256 bytes, as
/// changes of one level are, fall short of that by half of this in all.
const CONNECTION_WINDOW_BYTES: u32 = i32::MAX as u32;

/// The server at `addr`, not yet called.
///
/// # Errors
/// `addr` is no address of a server that this client can call; says why.
pub(super) fn parse(addr: &str) -> Result<Endpoint, ClientError> {
    let refused = |why: String| {
        let why = format!("{addr:?} is no address to call: {why}");
        ClientError::local(Code::InvalidArgument, why)
    };
    let (scheme, server) = addr.split_once("://").unwrap_or(("http", addr));
    if !scheme.eq_ignore_ascii_case("http") {
        let why = format!("this client has no TLS and speaks http alone, not {scheme}");
        return Err(refused(why));
    }
    let server = server.strip_suffix('/').unwrap_or(server);
    if let Some(at) = server.find(['/', '?', '#']) {
        let why = format!("a server has no path or query, as {} is", &server[at..]);
        return Err(refused(why));
    }
    // The colons of an IPv6 address are in brackets.
    let port = server.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| !port.ends_with(']'));
    if let Some(port) = port.filter(|port| port.parse::<NonZeroU16>().is_err()) {
        let why = format!("its port must be 1 to 65535, is {port:?}");
        return Err(refused(why));
    }
    let endpoint = Endpoint::from_shared(format!("http://{server}"));
    let endpoint = endpoint.map_err(|error| refused(ClientError::from(error).message))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_host_and_maybe_port() {
        for (addr, called) in [
            ("http://127.0.0.1:50051", "http://127.0.0.1:50051/"),
            ("http://127.0.0.1:50051/", "http://127.0.0.1:50051/"),
            ("HTTP://stock.example:1", "http://stock.example:1/"),
            ("localhost:65535", "http://localhost:65535/"),
            ("stock.example", "http://stock.example/"),
            ("[::1]:50051", "http://[::1]:50051/"),
            ("http://[::1]", "http://[::1]/"),
        ] {
            let endpoint = parse(addr).unwrap();
            assert_eq!(endpoint.uri().to_string(), called, "{addr}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_for_what_is_wrong() {
        for (addr, wrong) in [
            (
                "https://localhost:50051",
                "no TLS and speaks http alone, not https",
            ),
            ("unix:///run/stock", "speaks http alone, not unix"),
            ("dns:///stock:50051", "speaks http alone, not dns"),
            ("http://localhost:50051/v1", "no path or query, as /v1 is"),
            ("localhost:50051?tls=1", "no path or query, as ?tls=1 is"),
            (
                "http://localhost:99999",
                "port must be 1 to 65535, is \"99999\"",
            ),
            ("localhost:0", "port must be 1 to 65535, is \"0\""),
            ("http://localhost:", "port must be 1 to 65535, is \"\""),
            ("[::1]:http", "port must be 1 to 65535, is \"http\""),
            ("::1:50051", "invalid authority"),
            ("", "is no address"),
        ] {
            let error = parse(addr).expect_err(addr);
            assert!(error.is_refusal() && !error.retryable(), "{addr}: {error}");
            assert!(error.message.contains(wrong), "{addr}: {error}");
        }
    }
}
