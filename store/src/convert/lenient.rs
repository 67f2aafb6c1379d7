//! Reads JSON into types that refuse unknown keys, as if they did not.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// Reads a value, and leaves out every key that the structs in it do not have, at any depth. (Keys
/// of structs that are read through a type of their own first, as the entries of a manifest's
/// `files` are, count as known.)
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

/// A value whose unknown keys are left out.
struct Lenient(Value);

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Lenient)))
            }
            Value::Object(members) => visitor.visit_map(MapDeserializer::new(
                members.into_iter().map(|(name, value)| (name, Lenient(value))),
            )),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Value::Object(members) = &mut self.0 {
            members.retain(|name, _| fields.contains(&name.as_str()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Words, in what is stored.
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_domain::Manifest;
    use wasmill_domain::manifest::Trigger;

    use super::*;

    #[test]
    fn unknown_keys_are_left_out_at_any_depth() {
        let known = json!({
            "name": "total", "kind": "http", "limits": {"fuel": 5_000_000}, "retry": {"on": ["error"], "jitter": 0},
            "keyvalue": {"counts": "tenant"}, "env": {"A": "1"}, "secrets": {}, "allowed_hosts": ["https://example.com"],
            "runs_on": ["gpu"], "args": ["a"],
        });
        let mut more = known.clone();
        more["later"] = json!({"a": [1]});
        more["limits"]["later"] = json!("1ms");
        more["retry"]["later"] = json!(null);
        more["instances"] = json!({"later": 1});
        assert!(serde_json::from_value::<Manifest>(more.clone()).is_err());
        assert_eq!(
            read::<Manifest>(more).unwrap(),
            serde_json::from_value::<Manifest>(known).unwrap()
        );
        let webhook = json!({"scheme": "github", "secrets": ["a"], "later": true});
        let more = json!({"http": "/a", "methods": ["GET"], "later": 1, "cors": {"origins": ["*"], "later": 1}, "webhook": webhook});
        let Trigger::Http(trigger) = read(more).unwrap() else {
            panic!("it is one on HTTP requests")
        };
        assert_eq!(trigger.cors.unwrap().origins, ["*"]);
        assert!(trigger.webhook.is_some());
    }

    #[test]
    fn keys_of_maps_and_schemas_stay() {
        let schema = json!({"type": "object", "later": {"a": [1, 2.5, null]}});
        let manifest = json!({"name": "a", "env": {"LATER": "1"}, "trigger": [{"event": "a", "schema": schema}]});
        let manifest: Manifest = read(manifest).unwrap();
        assert_eq!(manifest.env["LATER"], "1");
        assert_eq!(manifest.triggers[0].schema(), Some(&schema));
    }

    #[test]
    fn words_that_are_not_known_are_no_keys() {
        for odd in [
            json!({"name": "a", "kind": "later"}),
            json!({"name": "A!"}),
            json!({"name": 1}),
            json!([]),
        ] {
            assert!(read::<Manifest>(odd.clone()).is_err(), "{odd}");
        }
    }
}
