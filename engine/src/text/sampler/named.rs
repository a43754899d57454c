//! Options as JSON has them, by their names: for requests and for records of how an answer was made.

use super::{Mirostat, SamplerKind};
use crate::text::template::Json;

/// A value of an option, in JSON and back.
pub(super) trait Named: Sized {
    /// The value in JSON.
    fn to_json(&self) -> Json;

    /// The value that JSON has; None where that is another kind of value.
    fn from_json(json: &Json) -> Option<Self>;
}

/// What a float is in JSON: infinities are the texts `inf` and `-inf`, as JSON has no numbers for them.
impl Named for f32 {
    fn to_json(&self) -> Json {
        match self.is_finite() {
            true => Json::Float(f64::from(*self)),
            false => Json::String(self.to_string()),
        }
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Float(number) => Some(*number as f32).filter(|number| number.is_finite()),
            Json::Integer(number) => Some(*number as f32),
            Json::String(text) if text == "inf" || text == "-inf" => text.parse().ok(),
            _ => None,
        }
    }
}

/// Whole numbers of these types.
macro_rules! whole {
    ($($type:ty),+) => {
        $(impl Named for $type {
            fn to_json(&self) -> Json {
                Json::Integer(*self as i128)
            }

            fn from_json(json: &Json) -> Option<Self> {
                match json {
                    Json::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        })+
    };
}

whole!(i32, u32, u64, usize);

impl Named for Option<u64> {
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Named::to_json)
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Null => Some(None),
            number => u64::from_json(number).map(Some),
        }
    }
}

impl Named for String {
    fn to_json(&self) -> Json {
        Json::String(self.clone())
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::String(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Named for SamplerKind {
    fn to_json(&self) -> Json {
        Json::String(self.name().to_owned())
    }

    fn from_json(json: &Json) -> Option<Self> {
        String::from_json(json)?.parse().ok()
    }
}

impl Named for Mirostat {
    fn to_json(&self) -> Json {
        let number: u32 = match self {
            Mirostat::Off => 0,
            Mirostat::V1 => 1,
            Mirostat::V2 => 2,
        };
        number.to_json()
    }

    fn from_json(json: &Json) -> Option<Self> {
        Mirostat::from_number(u32::from_json(json)?.into())
    }
}

/// A token and what is added to its logit: `[token, bias]`.
impl Named for (u32, f32) {
    fn to_json(&self) -> Json {
        Json::Array(vec![self.0.to_json(), self.1.to_json()])
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Array(pair) => match pair.as_slice() {
                [token, bias] => Some((Named::from_json(token)?, Named::from_json(bias)?)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<T: Named> Named for Vec<T> {
    fn to_json(&self) -> Json {
        Json::Array(self.iter().map(Named::to_json).collect())
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Array(items) => items.iter().map(Named::from_json).collect(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SamplerOptions, SamplerOverrides};
    use super::*;

    #[test]
    fn options_are_what_their_json_says() {
        let options = SamplerOptions::default()
            .seed(u64::MAX)
            .temperature(0.1)
            .top_k(-1)
            .mirostat(Mirostat::V2)
            .samplers(vec![SamplerKind::TopP, SamplerKind::Temperature])
            .dry_sequence_breakers(vec!["\n".to_owned(), String::new()])
            .logit_bias(vec![(7, f32::NEG_INFINITY), (8, 0.3)]);
        let fields = options.to_json();
        let mut read = SamplerOverrides::default();
        for (name, value) in &fields {
            let text = serde_json::to_string(value).unwrap();
            assert_eq!(read.set(name, &text.parse().unwrap()), Some(true), "{name}");
        }
        assert_eq!(SamplerOptions::default().overlay(&read), options);
        assert_eq!(read.set("top_k", &Json::from("many")), Some(false));
        assert_eq!(read.set("top_z", &Json::Null), None);
    }
}
