//! Which fields beyond OpenAI's are taken by any provider, and by which. It knows the dialects, and none of them knows it.

use super::{
    bedrock, cohere, databricks,
    extension::{Extension, LATE_CHUNKING},
    gemini, jina, mistral, nvidia, ollama, tei, vertex_ai, voyage, watsonx,
};

/// What is taken by which backend, as a ModelRoute names them.
const TAKEN: [(&str, &[&[Extension]]); 13] = [
    ("bedrock", bedrock::EXTENSIONS),
    ("cohere", &[cohere::EXTENSIONS]),
    ("databricks", &[databricks::EXTENSIONS]),
    ("gemini", &[gemini::EXTENSIONS]),
    ("huggingFace", &[tei::EXTENSIONS]),
    ("jina", &[jina::EXTENSIONS]),
    ("mistral", &[mistral::EXTENSIONS]),
    ("nvidia", &[nvidia::EXTENSIONS]),
    ("ollama", &[ollama::EXTENSIONS]),
    ("sageMaker", &[tei::EXTENSIONS]),
    ("vertexAI", &[vertex_ai::EXTENSIONS]),
    ("voyage", &[voyage::EXTENSIONS]),
    ("watsonx", &[watsonx::EXTENSIONS]),
];

fn all_taken() -> impl Iterator<Item = (&'static str, &'static Extension)> {
    TAKEN.into_iter().flat_map(|(backend, lists)| {
        lists.iter().flat_map(|list| list.iter()).map(move |extension| (backend, extension))
    })
}

/// The backends that take a field.
pub fn takers(field: &str) -> Vec<&'static str> {
    let mut takers: Vec<&str> =
        all_taken().filter(|(_, extension)| extension.name == field).map(|(backend, _)| backend).collect();
    takers.dedup();
    takers
}

/// Whether a field is known to say the same of each input, whichever others are in the request. `json` is its value.
pub fn is_of_each_input(field: &str, json: &str) -> bool {
    let is_coupling = field == LATE_CHUNKING && json != "false";
    !is_coupling && all_taken().any(|(_, extension)| extension.name == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_with_the_backends_that_take_it() {
        for (field, expected) in [
            ("late_chunking", &["jina"][..]),
            ("title", &["gemini", "vertexAI"]),
            ("prompt_name", &["huggingFace", "sageMaker"]),
            ("normalize", &["bedrock", "huggingFace", "sageMaker"]),
            ("of_a_later_time", &[]),
        ] {
            assert_eq!(takers(field), expected, "{field}");
        }
    }

    #[test]
    fn inputs_are_coupled_by_late_chunking_alone() {
        for (field, json, is_of_each) in [
            ("late_chunking", "true", false),
            ("late_chunking", "false", true),
            ("late_chunking", "1", false),
            ("task", "\"a\"", true),
            ("truncate", "true", true),
            ("unknown", "true", false),
        ] {
            assert_eq!(is_of_each_input(field, json), is_of_each, "{field} {json}");
        }
    }
}
