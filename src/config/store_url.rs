//! URLs of the database and of Redis: which are taken, and how one is shown without its password.

/// How the URL of a server of a Redis Cluster begins.
pub(super) const REDIS_CLUSTER: &str = "redis-cluster://";

/// What ends the part of a URL that has credentials.
const SPECIAL: [char; 3] = ['/', '?', '#'];

/// What stands for a password.
const HIDDEN: &str = "***";

/// Whether this names a store. A database in memory would be another one on each connection.
pub(super) fn is_store_url(url: &str) -> bool {
    if let Some(file) = url.strip_prefix("sqlite:") {
        let (path, options) = file.split_once('?').unwrap_or((file, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        !path.is_empty() && !path.contains(":memory:") && !options.contains("mode=memory")
    } else {
        is_postgres_url(url)
    }
}

/// Whether this names a database on PostgreSQL. With one of `/`, `?` and `#` in its
/// credentials, as random passwords have, or with an `@` in an option that is a password, the
/// URL means something else to whoever parses it.
pub(super) fn is_postgres_url(url: &str) -> bool {
    let rest = url.strip_prefix("postgres://");
    let rest = rest.or_else(|| url.strip_prefix("postgresql://"));
    rest.is_some_and(|rest| {
        let before = rest.rsplit_once('@').map_or("", |(before, _)| before);
        // Without a colon before it, such a character begins a path or options.
        let colon = before.find(':').unwrap_or(before.len());
        !rest.is_empty() && !before[colon..].contains(SPECIAL) && !is_secret(before)
    })
}

/// Whether this names a Redis.
pub(super) fn is_redis_url(url: &str) -> bool {
    let rest = url.strip_prefix("redis://");
    rest.or_else(|| url.strip_prefix(REDIS_CLUSTER))
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// The URL with its password hidden.
///
/// Would rather hide too much: a password that was not percent-encoded may
/// hold `/`, `?` or `@`, so everything up to the last `@` counts as part of it,
/// and of a text that is no URL of ours only the scheme is shown.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        return HIDDEN.to_owned();
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    if !matches!(
        scheme,
        "postgres" | "postgresql" | "redis" | "redis-cluster"
    ) {
        return format!("{scheme}:{HIDDEN}");
    }
    let (slashes, rest) = match rest.strip_prefix("//") {
        Some(rest) => ("//", rest),
        None => ("", rest),
    };
    let shown = match rest.rsplit_once('@') {
        // An option with an @ in it: which is the password cannot be said.
        Some((before, place))
            if is_secret(before) || (before.contains('?') && is_secret(place)) =>
        {
            HIDDEN.to_owned()
        }
        Some((credentials, place)) => {
            format!("{}@{}", without_secret(credentials), without_options(place))
        }
        None => without_options(rest),
    };
    format!("{scheme}:{slashes}{shown}")
}

/// Hides all of the credentials but the name of the user.
fn without_secret(credentials: &str) -> String {
    match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}"),
        None => credentials.to_owned(),
    }
}

/// Whether it names an option that is a password.
fn is_secret(options: &str) -> bool {
    options.to_ascii_lowercase().contains("password=")
}

/// Hides what should be a port and is not: of a list that is separated by commas, the first
/// part of a password that has one.
fn without_odd_port(place: &str) -> String {
    let end = place.find(SPECIAL).unwrap_or(place.len());
    let (host, path) = place.split_at(end);
    // The colons of an IPv6 address are in brackets.
    let name = host.rfind(']').unwrap_or(0);
    match host[name..].split_once(':') {
        Some((rest, port)) if port.parse::<u16>().is_err() => {
            format!("{}{rest}:{HIDDEN}{path}", &host[..name])
        }
        _ => place.to_owned(),
    }
}

/// Hides the values of options that hold a password: `?password=…`.
fn without_options(place: &str) -> String {
    let Some((place, options)) = place.split_once('?') else {
        return without_odd_port(place);
    };
    let place = without_odd_port(place);
    let options = options
        .split('&')
        .map(|option| match option.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => {
                format!("{name}={HIDDEN}")
            }
            _ => option.to_owned(),
        });
    format!("{place}?{}", options.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::{is_postgres_url, without_password};

    #[test]
    fn a_password_that_would_end_its_url_early_is_refused() {
        for url in [
            "postgres://u:S3cr/et@h/d",
            "postgres://u:S3cr?et@h/d",
            "postgresql://u:S3cr#et@h/d",
            "postgres://h/d?user=u&password=p@ss",
            "postgres://",
        ] {
            assert!(!is_postgres_url(url), "{url}");
        }
        for url in [
            "postgres://u:S3cr%2Fet@h/d",
            "postgres://h/d?host=/run",
            "postgres:///d",
            "postgres://h/d?application_name=svc@prod",
        ] {
            assert!(is_postgres_url(url), "{url}");
        }
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        for (url, shown) in [
            ("sqlite://stockroom.db", "sqlite://stockroom.db"),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:p@h:5432/d", "postgres://u:***@h:5432/d"),
            ("postgresql://u:p/q?r@s@h/d", "postgresql://u:***@h/d"),
            (
                "postgres://h/d?user=u&password=p",
                "postgres://h/d?user=u&password=***",
            ),
            ("postgres:u:p@h", "postgres:u:***@h"),
            ("postgres://h:1/d?user=u&password=p@ss", "postgres://***"),
            ("postgres://h/d?user=me@corp&password=p", "postgres://***"),
            ("postgres://u:hun", "postgres://u:***"),
            ("postgres://u:hun:ter", "postgres://u:***"),
            ("postgres://[::1]:5432/d", "postgres://[::1]:5432/d"),
            ("postgres://[::1]/d", "postgres://[::1]/d"),
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("redis://:p@h", "redis://:***@h"),
            ("redis-cluster://u:p@h", "redis-cluster://u:***@h"),
            ("mysql://u:p@h", "mysql:***"),
            ("hunter2", "***"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
