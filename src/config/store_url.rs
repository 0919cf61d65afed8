//! URLs of the database and of Redis: which are taken, and how one is shown without its password.

/// How the URL of a server of a Redis Cluster begins.
pub(super) const REDIS_CLUSTER: &str = "redis-cluster://";

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

/// Whether this names a database on PostgreSQL.
pub(super) fn is_postgres_url(url: &str) -> bool {
    let rest = url.strip_prefix("postgres://");
    rest.or_else(|| url.strip_prefix("postgresql://"))
        .is_some_and(|rest| !rest.is_empty())
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
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let credentials = match credentials.map(|c| c.split_once(':')) {
        Some(Some((user, _))) => format!("{user}:{HIDDEN}@"),
        Some(None) => format!("{}@", credentials.unwrap_or_default()),
        None => String::new(),
    };
    format!("{scheme}:{slashes}{credentials}{}", without_options(place))
}

/// Hides the values of options that hold a password: `?password=…`.
fn without_options(place: &str) -> String {
    let Some((place, options)) = place.split_once('?') else {
        return place.to_owned();
    };
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
    use super::without_password;

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
