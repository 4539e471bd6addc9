//! `[redis]`: where servers share caches and limits.

use anyhow::Context;
use cache::LinkOptions;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A Redis that several servers share. While it is away, each goes on alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisConfig {
    /// `redis://host:port/database`, with a user as `redis://user@…`, over TLS as `rediss://…`, or `redis+unix:///path`;
    /// never with a password.
    pub(crate) url: String,
    /// File with the certificates in PEM that a `rediss://` server may be certified by; absent: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// File that holds the password. `RAGSTONE_REDIS_PASSWORD` wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// What all keys begin with. Servers with the same prefix share.
    #[serde(default = "ragstone")]
    pub(crate) prefix: String,
    /// Milliseconds that a call may take; longer, and Redis counts as away.
    #[serde(default = "quarter_of_a_second")]
    pub(crate) timeout_ms: u64,
    /// Milliseconds until a Redis that is away is looked for again; doubled each time.
    #[serde(default = "tenth_of_a_second")]
    pub(crate) pause_ms: u64,
    /// Milliseconds at most.
    #[serde(default = "five_seconds")]
    pub(crate) pause_ms_max: u64,
}

fn ragstone() -> String {
    "ragstone:".to_owned()
}

const fn quarter_of_a_second() -> u64 {
    250
}

const fn tenth_of_a_second() -> u64 {
    100
}

const fn five_seconds() -> u64 {
    5000
}

impl RedisConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let mut check = |is_right: bool, path: &str, rule: &str| {
            if !is_right {
                errors.push(format!("redis.{path}: {rule}"));
            }
        };
        let place = ["redis://", "rediss://", "redis+unix://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        check(place.is_some(), "url", "must begin with redis://, rediss:// or redis+unix://");
        let user = place.and_then(|place| place.split_once('@')).map_or("", |(user, _)| user);
        let has_password = user.contains(':') || self.url.contains("pass=");
        check(!has_password, "url", "must hold no password: set password_file or RAGSTONE_REDIS_PASSWORD");
        let is_certified = self.ca_file.is_none() || self.url.starts_with("rediss://");
        check(is_certified, "ca_file", "is for rediss:// alone");
        check(!self.prefix.is_empty(), "prefix", "must not be empty");
        check((1..=60_000).contains(&self.timeout_ms), "timeout_ms", "must be 1 to 60000");
        check((1..=self.pause_ms_max).contains(&self.pause_ms), "pause_ms", "must be 1 to pause_ms_max");
        check(self.pause_ms_max <= 3_600_000, "pause_ms_max", "must be at most 3600000");
        errors
    }

    /// The password: `given`, or what the file holds.
    pub(super) fn password(&self, given: Option<&str>) -> anyhow::Result<Option<String>> {
        match (given, &self.password_file) {
            (None, Some(path)) => {
                let password = std::fs::read_to_string(path);
                let password = password.with_context(|| format!("redis.password_file: can't read {}", path.display()))?;
                Ok(Some(password.trim().to_owned()))
            }
            (given, _) => Ok(given.map(str::to_owned)),
        }
    }

    /// How it is reached.
    pub(crate) fn link(&self, password: Option<String>) -> anyhow::Result<LinkOptions> {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("redis.ca_file: can't read {}", path.display()));
        Ok(LinkOptions {
            password,
            ca_pem: self.ca_file.as_ref().map(read).transpose()?,
            prefix: self.prefix.clone(),
            timeout: Duration::from_millis(self.timeout_ms),
            pause_min: Duration::from_millis(self.pause_ms),
            pause_max: Duration::from_millis(self.pause_ms_max),
            ..LinkOptions::new(&self.url)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> RedisConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_address_holds_no_password() {
        for right in ["redis://127.0.0.1:6379/", "redis://ragstone@[::1]:6379/2", "rediss://a", "redis+unix:///run/redis.sock?db=1"] {
            assert_eq!(config(&format!("url = \"{right}\"")).validate(), Vec::<String>::new(), "{right}");
        }
        for wrong in ["127.0.0.1:6379", "http://a", "redis://:word@127.0.0.1/", "redis://user:word@a", "redis+unix:///a?pass=word"] {
            assert!(config(&format!("url = \"{wrong}\"")).validate().join("\n").contains("redis.url"), "{wrong}");
        }
        assert!(config("url = \"redis://a\"\nca_file = \"a\"").validate().join("\n").contains("redis.ca_file:"));
        assert!(config("url = \"redis://a\"\npause_ms = 9000").validate().join("\n").contains("redis.pause_ms:"));
    }

    #[test]
    fn what_is_not_said_is_as_the_link_has_it() {
        let (ours, theirs) = (config("url = \"redis://a\"").link(None).unwrap(), LinkOptions::new("redis://a"));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "from the file\n").unwrap();
        let config = RedisConfig { password_file: Some(path), ..config("url = \"redis://a\"") };
        assert_eq!(config.password(None).unwrap().as_deref(), Some("from the file"));
        assert_eq!(config.password(Some("given")).unwrap().as_deref(), Some("given"));
        let missing = RedisConfig { password_file: Some("/nowhere/password".into()), ..config };
        assert!(missing.password(None).unwrap_err().to_string().contains("redis.password_file"));
    }
}
