//! Names that users choose, each checked once where it enters.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use crate::text::as_text;

/// A text that is not a name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}: {rule}")]
pub struct NameError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    // A name may be anything that came over the wire: show no more of it than a
                    // reader needs.
                    Err(NameError { text: text.chars().take(80).collect(), what: $what, rule: $rule })
                }
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        as_text!($name);
    };
}

name!(
    /// An isolated namespace. `default` exists from the start.
    TenantName,
    "a tenant's name",
    "1 to 63 lower-case letters, digits and hyphens, a letter first",
    is_label
);

name!(
    /// A function's name, unique in its tenant.
    FunctionName,
    "a function's name",
    "1 to 63 lower-case letters, digits and hyphens, a letter first",
    is_label
);

name!(
    /// What a host offers and a function may ask for, for example `gpu` or `eu-west`.
    HostLabel,
    "a host's label",
    "1 to 63 lower-case letters, digits and hyphens, a letter first",
    is_label
);

name!(
    /// What a function opens with `wasi:keyvalue`, for example `default` or `page_counts`.
    BucketName,
    "a bucket's name",
    "1 to 63 letters, digits, '.', '-' and '_', a letter or digit first",
    is_bucket_name
);

name!(
    /// A secret's name, unique in its tenant.
    SecretName,
    "a secret's name",
    "1 to 63 lower-case letters, digits and hyphens, a letter first",
    is_label
);

name!(
    /// What one of the operator's keys is called, by which secrets are sealed.
    SealingKeyId,
    "the id of an operator's key",
    "1 to 63 lower-case letters, digits and hyphens, a letter first",
    is_label
);

name!(
    /// The `type` attribute of an event, for example `order.created`. CloudEvents allows any text;
    /// wasmill asks for what fits in a URL path and in a pattern.
    EventType,
    "an event type",
    "1 to 255 letters, digits, '.', '-', '_', '/', ':' and '+', not starting or ending with '.'",
    is_event_type
);

name!(
    /// What a trigger listens to: an event type in which `*` stands for one or more whole
    /// dot-separated segments when it is the last segment, and for exactly one segment elsewhere.
    /// `order.*` matches `order.created` and `order.item.added`; `*.created` matches
    /// `order.created` only; `*` matches every type.
    EventPattern,
    "an event type or pattern",
    "an event type in which a whole dot-separated segment may be '*'",
    is_event_pattern
);

impl Default for TenantName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl EventPattern {
    /// Whether the pattern has no wildcard.
    pub fn is_exact(&self) -> bool {
        !self.0.split('.').any(|segment| segment == "*")
    }

    /// Whether an event of type `event_type` matches.
    pub fn matches(&self, event_type: &str) -> bool {
        let mut pattern = self.0.split('.').peekable();
        let mut segments = event_type.split('.');
        while let Some(wanted) = pattern.next() {
            let Some(segment) = segments.next() else { return false };
            if wanted == "*" {
                if pattern.peek().is_none() {
                    return true;
                }
            } else if wanted != segment {
                return false;
            }
        }
        segments.next().is_none()
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_bucket_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(b))
}

fn is_event_type(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/:+".contains(&b))
        && !text.starts_with('.')
        && !text.ends_with('.')
        && !text.contains("..")
}

fn is_event_pattern(text: &str) -> bool {
    is_event_type(&text.replace('*', "x"))
        && text.split('.').all(|segment| segment == "*" || !segment.contains('*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert!("order-total".parse::<FunctionName>().is_ok());
        for bad in ["", "1st", "-x", "Order", "a_b", "a/b", &"x".repeat(64)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn bucket_names() {
        for good in ["default", "page_counts", "V2.sessions-eu", "7"] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "_x", "a/b", "a b", "ü", "a\0", &"x".repeat(64)] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn event_types() {
        assert!("com.example/order:v1+a_b.created".parse::<EventType>().is_ok());
        for bad in ["", ".a", "a.", "a..b", "a b", "a*", "ü", &"x".repeat(256)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_match_whole_segments() {
        let matches = |pattern: &str, event_type: &str| {
            pattern.parse::<EventPattern>().unwrap().matches(event_type)
        };
        assert!(matches("order.created", "order.created"));
        assert!(!matches("order.created", "order.created.v2"));
        assert!(matches("order.*", "order.created"));
        assert!(matches("order.*", "order.item.added"));
        assert!(!matches("order.*", "order"));
        assert!(!matches("order.*", "orders.created"));
        assert!(matches("*.created", "order.created"));
        assert!(!matches("*.created", "order.item.created"));
        assert!(matches("*", "a"));
        assert!(matches("*", "a.b.c"));
        for bad in ["ord*", "*x.y", "", "a..*"] {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }
}
