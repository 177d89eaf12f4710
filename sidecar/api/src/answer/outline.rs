//! The members of an answer's object, without reading the vectors.
//!
//! It follows strings and braces as the answer arrives in pieces. What stands between them, numbers above all, is skipped by
//! `memchr`: an answer of 2,048 vectors has some thousand places that are looked at. Brackets need not be followed: in JSON only a
//! member's name has a colon behind it.

use memchr::{memchr2, memchr3};

use super::{text::Text, usage};
use crate::request::EncodingFormat;

/// The longest name that is looked for.
const LONGEST_NAME: usize = 9;
/// The longest value of `usage` that is read. Some list their details beside the counts.
const MAX_USAGE_BYTES: usize = 64 * 1024;

/// Depth within the answer's object, and within an object of one of its members.
const TOP: u32 = 1;
const MEMBER: u32 = 2;

/// A member of the answer's object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Data,
    Usage,
    Error,
}

/// The answer's object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Object {
    #[default]
    Ahead,
    Open,
    Ended,
    /// Something follows it.
    Followed,
    /// Something else stands in its place.
    None,
}

/// What the next byte that is no space decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    /// A string has ended: whether it is a name.
    Colon,
    /// The value of the present member begins.
    MemberValue,
    /// A vector begins.
    Vector,
}

/// The last string, as far as it may be a name that is looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; LONGEST_NAME],
    length: usize,
    /// Longer, or with escapes.
    other: bool,
}

impl Name {
    fn push(&mut self, bytes: &[u8]) {
        if self.other {
            return;
        }
        match self.bytes.get_mut(self.length..self.length + bytes.len()) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.other = true,
        }
    }

    fn text(&self) -> &[u8] {
        if self.other { &[] } else { self.bytes.get(..self.length).unwrap_or_default() }
    }
}

/// What is known of an answer so far.
#[derive(Debug, Default)]
pub struct Outline {
    depth: u32,
    text: Text,
    next: Next,
    /// The string that is read now, or was last; none: it can be no name that is looked for.
    name: Option<Name>,
    member: Member,
    /// The value of `usage`, while it is read.
    usage: Option<Vec<u8>>,
    tokens: Option<u64>,
    has_data: bool,
    has_error: bool,
    vectors: u64,
    format: Option<EncodingFormat>,
    object: Object,
}

impl Outline {
    /// Looks at the next piece.
    pub fn pass(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() && !matches!(self.object, Object::None | Object::Followed) {
            let taken = self.step(rest);
            let (done, left) = rest.split_at(taken.clamp(1, rest.len()));
            self.keep(done);
            rest = left;
        }
    }

    /// What is wrong with the whole, if it is not a JSON object with vectors in it.
    pub fn fault(&self) -> Option<&'static str> {
        match self.object {
            Object::Ahead | Object::None => Some("it is not a JSON object"),
            Object::Open => Some("it ends in the middle"),
            Object::Followed => Some("something follows its JSON object"),
            Object::Ended => (!self.has_data).then_some("it has no `data`"),
        }
    }

    /// Whether it is no JSON object, whatever is still to come.
    pub fn is_no_object(&self) -> bool {
        self.object == Object::None
    }

    /// Whether it is a whole object that reports an error in place of vectors.
    pub fn is_error(&self) -> bool {
        self.object == Object::Ended && self.has_error && !self.has_data
    }

    /// The input tokens that it reports.
    pub fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u64 {
        self.vectors
    }

    /// The form of the first vector. None: none is there yet.
    pub fn format(&self) -> Option<EncodingFormat> {
        self.format
    }

    /// Takes the next bytes that belong together; how many.
    fn step(&mut self, rest: &[u8]) -> usize {
        match self.text {
            Text::Escaped => {
                self.text = Text::Inside;
                1
            }
            Text::Inside => self.in_text(rest),
            Text::Outside => self.outside(rest),
        }
    }

    fn in_text(&mut self, rest: &[u8]) -> usize {
        let at = memchr2(b'"', b'\\', rest);
        let end = at.unwrap_or(rest.len());
        if let Some(name) = &mut self.name {
            name.push(rest.get(..end).unwrap_or_default());
        }
        let Some(byte) = at.and_then(|at| rest.get(at)) else { return rest.len() };
        if *byte == b'\\' {
            self.text = Text::Escaped;
            if let Some(name) = &mut self.name {
                name.other = true;
            }
        } else {
            self.text = Text::Outside;
            if self.name.is_some() {
                self.next = Next::Colon;
            }
        }
        end + 1
    }

    fn outside(&mut self, rest: &[u8]) -> usize {
        let at = match self.next {
            // A handful of spaces at most.
            Next::Colon | Next::MemberValue | Next::Vector => rest.iter().position(|byte| !byte.is_ascii_whitespace()),
            Next::Nothing if self.depth == 0 => rest.iter().position(|byte| !byte.is_ascii_whitespace()),
            Next::Nothing => memchr3(b'"', b'{', b'}', rest),
        };
        let Some((at, &byte)) = at.and_then(|at| Some((at, rest.get(at)?))) else { return rest.len() };
        match (self.object, byte) {
            (Object::Ahead, b'{') => self.object = Object::Open,
            (Object::Ahead, _) => self.object = Object::None,
            (Object::Ended, _) => self.object = Object::Followed,
            (Object::Open | Object::Followed | Object::None, _) => {}
        }
        if self.object != Object::Open {
            return at + 1;
        }
        match std::mem::take(&mut self.next) {
            Next::Colon => {
                if byte == b':' {
                    self.named();
                    return at + 1;
                }
            }
            Next::MemberValue => self.value_begins(byte),
            Next::Vector => self.vector_begins(byte),
            Next::Nothing => {}
        }
        match byte {
            b'"' => {
                self.text = Text::Inside;
                let is_looked_for = self.depth == TOP || (self.depth == MEMBER && self.member == Member::Data);
                self.name = is_looked_for.then(Name::default);
            }
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => self.close(),
            _ => {}
        }
        at + 1
    }

    /// The last string is a member's name.
    fn named(&mut self) {
        let Some(name) = self.name.take() else { return };
        if self.depth == TOP {
            self.member = match name.text() {
                b"data" => Member::Data,
                b"usage" => Member::Usage,
                b"error" => Member::Error,
                _ => Member::Other,
            };
            self.next = Next::MemberValue;
        } else if name.text() == b"embedding" {
            self.vectors += 1;
            self.next = Next::Vector;
        }
    }

    fn value_begins(&mut self, byte: u8) {
        match self.member {
            Member::Data => self.has_data = byte == b'[',
            // `null` says that there is none.
            Member::Error => self.has_error = matches!(byte, b'{' | b'[' | b'"'),
            Member::Usage if byte == b'{' => self.usage = Some(Vec::new()),
            Member::Usage | Member::Other => {}
        }
    }

    fn vector_begins(&mut self, byte: u8) {
        let format = match byte {
            b'[' => Some(EncodingFormat::Float),
            b'"' => Some(EncodingFormat::Base64),
            _ => None,
        };
        self.format = self.format.or(format);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.object = Object::Ended;
        }
    }

    /// Keeps what belongs to the value of `usage`, and reads it at its end.
    fn keep(&mut self, done: &[u8]) {
        let Some(kept) = &mut self.usage else { return };
        // What it begins with may have spaces and a colon before it.
        let done = if kept.is_empty() { done.trim_ascii_start() } else { done };
        kept.extend_from_slice(done);
        if self.depth <= TOP {
            // The last one that says something counts, as it does for whoever reads the JSON.
            self.tokens = usage::tokens(kept).or(self.tokens);
            self.usage = None;
        } else if kept.len() > MAX_USAGE_BYTES {
            self.usage = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outline(text: &str) -> Outline {
        let mut outline = Outline::default();
        outline.pass(text.as_bytes());
        outline
    }

    #[test]
    fn usage_is_the_answers_own_member_wherever_it_stands() {
        let long = "x".repeat(5000);
        for (text, tokens) in [
            (r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":9}}"#.to_owned(), Some(8)),
            ("{\"data\":[],\n  \"usage\" : {\n    \"prompt_tokens\": 8\n  }\n}\n".to_owned(), Some(8)),
            (r#"{"usage":{"prompt_tokens":9,"details":{"usage":{"prompt_tokens":1}}},"data":[]}"#.to_owned(), Some(9)),
            (r#"{"data":[],"usage":{"details":{"usage":{"prompt_tokens":1}},"prompt_tokens":9}}"#.to_owned(), Some(9)),
            (r#"{"data":[{"usage":{"prompt_tokens":1}}],"usage":{"total_tokens":9.0}}"#.to_owned(), Some(9)),
            (r#"{"data":[],"meta":{"usage":{"prompt_tokens":1}}}"#.to_owned(), None),
            // Far from either end.
            (format!(r#"{{"id":"{long}","usage":{{"prompt_tokens":9}},"data":[],"note":"{long}"}}"#), Some(9)),
            (format!(r#"{{"usage":{{"note":"{long}}}\"","prompt_tokens":9}},"data":[]}}"#), Some(9)),
            (r#"{"usage":{"prompt_tokens":9},"data":[],"usage":null}"#.to_owned(), Some(9)),
            (r#"{"usage":{"prompt_tokens":9},"data":[],"usage":{"prompt_tokens":8}}"#.to_owned(), Some(8)),
            (r#"{"data":[],"model":"\"usage\":{\"prompt_tokens\":1}"}"#.to_owned(), None),
            (r#"{"data":["usage",{"a":1}],"usage":{"prompt_tok"#.to_owned(), None),
        ] {
            assert_eq!(outline(&text).tokens(), tokens, "{text}");
        }
    }

    #[test]
    fn vectors_are_counted_and_their_form_is_seen() {
        use EncodingFormat::{Base64, Float};
        for (text, vectors, format) in [
            (r#"{"data":[{"object":"embedding","index":0,"embedding":[0.1]},{"embedding" : "AAAA"}]}"#, 2, Some(Float)),
            (r#"{"data":[{"embedding" : "AA\"}AA"#, 1, Some(Base64)),
            (r#"{"data":[{"embedding":null},{"embedding":"AAAA"}]}"#, 2, Some(Base64)),
            (r#"{"object":"list","data":[{"object":"embedding","#, 0, None),
            (r#"{"data":[{"embedding":"#, 1, None),
            (r#"{"model":"\"embedding\":1","embedding":[1],"data":[{"meta":{"embedding":[1]}}]}"#, 0, None),
        ] {
            let outline = outline(text);
            assert_eq!((outline.vectors(), outline.format()), (vectors, format), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_noticed() {
        for (text, fault) in [
            (r#" {"object":"list","data":[],"usage":{}} "#, None),
            ("<html></html>", Some("it is not a JSON object")),
            ("[{}]", Some("it is not a JSON object")),
            ("", Some("it is not a JSON object")),
            (r#"{"data":[0.1, 0.2"#, Some("it ends in the middle")),
            // Cut at a brace.
            (r#"{"data":[{"embedding":[0.1]}"#, Some("it ends in the middle")),
            (r#"{"data":[],"model":"a}"#, Some("it ends in the middle")),
            (r#"{"data":[]}{"data":[]}"#, Some("something follows its JSON object")),
            (r#"{"error":1}"#, Some("it has no `data`")),
        ] {
            assert_eq!(outline(text).fault(), fault, "{text}");
        }
    }

    #[test]
    fn an_error_in_place_of_vectors_is_seen() {
        assert!(outline(r#"{"error":{"message":"no","code":429}}"#).is_error());
        assert!(outline(r#"{"object":"error","error":"no"}"#).is_error());
        for other in [
            r#"{"data":[],"error":{"a":1}}"#,
            r#"{"data":null,"data":[]}"#,
            r#"{"error":null,"data":[]}"#,
            r#"{"error":null}"#,
            r#"{"error":{"#,
            "{}",
        ] {
            assert!(!outline(other).is_error(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "\"", "\\", " ", ",", ":", "[1,2]", "\"embedding\":", "\"data\":[", "\"usage\":{\"prompt_tokens\":7}",
                "\"usage\" \n:", "\"error\":", "null", "{\"data\":[{\"embedding\":[0.5,0.25]}],",
            ]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: String = std::iter::once("{").chain(parts).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut pieces = Outline::default();
            for pair in cuts.windows(2) {
                if let [from, to] = pair {
                    pieces.pass(&text.as_bytes()[*from..*to]);
                }
            }
            let seen = |outline: &Outline| {
                (outline.fault(), outline.is_error(), outline.tokens(), outline.vectors(), outline.format())
            };
            prop_assert_eq!(seen(&pieces), seen(&outline(&text)));
        }

        #[test]
        fn it_reads_what_a_parser_reads(
            before in "[ -~]{0,20}", tokens in 1_u64..1000, numbers in prop::collection::vec(-1.0_f32..1.0, 0..20), vectors in 0_usize..4,
        ) {
            let item = serde_json::json!({"index": 0, "object": "embedding", "embedding": numbers, "usage": {"prompt_tokens": 1}});
            let answer = serde_json::json!({
                "a": before, "usage": {"prompt_tokens": tokens, "x": {"usage": before}}, "data": vec![item; vectors], "z": {"y": [before]},
            });
            for text in [answer.to_string(), format!("{answer:#}")] {
                let outline = outline(&text);
                prop_assert_eq!(outline.fault(), None);
                prop_assert_eq!((outline.tokens(), outline.vectors()), (Some(tokens), vectors as u64));
            }
        }
    }
}
