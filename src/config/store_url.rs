//! URLs of the database and of Redis: which are taken, and how one is shown without its password.

/// How the URL of a server of a Redis Cluster begins.
pub(super) const REDIS_CLUSTER: &str = "redis-cluster://";

/// What ends the part of a URL that has credentials.
const SPECIAL: [char; 3] = ['/', '?', '#'];

/// What stands for a password.
const HIDDEN: &str = "***";

/// What stands for the value of an option that is none of [`OPTIONS`]: it may be a password.
const UNKNOWN: &str = "(unknown option)";

/// The options of a URL that sqlx 0.9 knows (`sqlx-postgres/src/options/parse.rs`), besides
/// `options[NAME]`. It would ignore any other, and log it with its value.
const OPTIONS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

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
/// URL means something else to whoever parses it. An option that nobody knows, such as libpq's
/// `target_session_attrs`, would do nothing.
pub(super) fn is_postgres_url(url: &str) -> bool {
    let rest = url.strip_prefix("postgres://");
    let rest = rest.or_else(|| url.strip_prefix("postgresql://"));
    rest.is_some_and(|rest| {
        let before = rest.rsplit_once('@').map_or("", |(before, _)| before);
        // Without a colon before it, such a character begins a path or options.
        let colon = before.find(':').unwrap_or(before.len());
        let is_plain = !before[colon..].contains(SPECIAL) && !is_secret(before);
        !rest.is_empty() && is_plain && names_of_options(rest).all(is_option)
    })
}

/// The names of the options in a URL, or in the rest of one.
fn names_of_options(url: &str) -> impl Iterator<Item = &str> {
    let url = url.split('#').next().unwrap_or_default();
    let (_, options) = url.split_once('?').unwrap_or_default();
    let options = options.split('&').filter(|option| !option.is_empty());
    options.map(|option| option.split_once('=').map_or(option, |(name, _)| name))
}

/// Whether PostgreSQL's URLs have an option of this name.
fn is_option(name: &str) -> bool {
    // The brackets of `options[NAME]` come percent-encoded as well.
    let name = name.replace("%5B", "[").replace("%5D", "]");
    OPTIONS.contains(&name.as_str()) || (name.starts_with("options[") && name.ends_with(']'))
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
    let knows: fn(&str) -> bool = match scheme {
        "postgres" | "postgresql" => is_option,
        _ => |_| true,
    };
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
        // An option as well: without a colon before it, a question mark is in no password.
        Some((before, _))
            if before
                .split_once('?')
                .is_some_and(|(it, _)| !it.contains(':')) =>
        {
            without_options(rest, knows)
        }
        // Either an option with an @ in it, or a password with a question mark.
        Some((before, _))
            if before
                .split_once('?')
                .is_some_and(|(_, options)| options.contains('=')) =>
        {
            HIDDEN.to_owned()
        }
        Some((credentials, place)) => {
            let place = without_options(place, knows);
            format!("{}@{place}", without_secret(credentials))
        }
        None => without_options(rest, knows),
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

/// Hides the values of options that hold a password, `?password=…`, and of those that nobody
/// `knows`.
fn without_options(place: &str, knows: fn(&str) -> bool) -> String {
    let Some((place, options)) = place.split_once('?') else {
        return without_odd_port(place);
    };
    let place = without_odd_port(place);
    let options = options
        .split('&')
        .map(|option| match option.split_once('=') {
            Some((name, _)) if !knows(name) => format!("{name}={UNKNOWN}"),
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => {
                format!("{name}={HIDDEN}")
            }
            None if !option.is_empty() && !knows(option) => UNKNOWN.to_owned(),
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
    fn an_option_that_nobody_knows_is_refused_by_name_and_its_value_is_hidden() {
        for (url, shown) in [
            (
                "postgres://u:p@h/d?sslmode=require&sslpassword=hunter2",
                "postgres://u:***@h/d?sslmode=require&sslpassword=(unknown option)",
            ),
            (
                "postgres://h/d?passwd=hunter2",
                "postgres://h/d?passwd=(unknown option)",
            ),
            (
                "postgresql:///d?passwd=hun@ter2",
                "postgresql:///d?passwd=(unknown option)",
            ),
            (
                "postgres://a/d?target_session_attrs=read-write",
                "postgres://a/d?target_session_attrs=(unknown option)",
            ),
        ] {
            assert!(!is_postgres_url(url), "{url}");
            assert_eq!(without_password(url), shown);
        }
        for options in [
            "",
            "sslmode=verify-full&sslrootcert=/ca.pem&&port=5433",
            "options=-c%20geqo=off",
            "options[geqo]=off&options%5Bjit%5D=off",
        ] {
            let url = format!("postgres://h/d?{options}");
            assert!(is_postgres_url(&url), "{url}");
            assert_eq!(without_password(&url), url);
        }
        // What Redis knows is another matter.
        let redis = "redis://h/1?protocol=resp3";
        assert_eq!(without_password(redis), redis);
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
            ("postgres://h:1/d?passwd=hun@ter2", "postgres://***"),
            ("postgres://u:p@h/d?passwd=hun@ter2", "postgres://***"),
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
