//! From a path in a YAML document to the line it stands on.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The line (from 1) of the value at `path` (for example `routes[2].backends[0].weight`) in the document that `yaml`
/// deserializes; of the closest value around it where the path ends before. None where the text cannot be read so far.
pub fn line_of(yaml: serde_yaml::Deserializer<'_>, path: &str) -> Option<usize> {
    let steps: Vec<&str> =
        path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|s| !s.is_empty()).collect();
    match Walk(&steps).deserialize(yaml) {
        Ok(()) => None,
        Err(error) => error.location().map(|at| at.line()),
    }
}

/// Walks down one path and stops there with an error, which the parser then marks with its position.
struct Walk<'a>(&'a [&'a str]);

const HERE: &str = "here";

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HERE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom(HERE)) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *step {
                return map.next_value_seed(Walk(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom(HERE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom(HERE)) };
        for _ in 0..step.parse::<usize>().unwrap_or(0) {
            seq.next_element::<IgnoredAny>()?;
        }
        match seq.next_element_seed(Walk(rest))? {
            Some(()) => Ok(()),
            None => Err(A::Error::custom(HERE)),
        }
    }
    // Every other visit falls back to serde's "invalid type" error, which stands at the value as well.
}

#[cfg(test)]
mod tests {
    use super::line_of;

    const YAML: &str = "a: 1\nb:\n  c: x\n  d:\n  - 1\n  - e: 2\n    f: 3\n";

    #[test]
    fn a_path_leads_to_its_line() {
        for (path, line) in [("a", 1), ("b.c", 3), ("b.d[0]", 5), ("b.d[1].f", 7), ("b.d[1]", 6), ("b.nothing", 3)] {
            assert_eq!(line_of(serde_yaml::Deserializer::from_str(YAML), path), Some(line), "{path}");
        }
    }
}
