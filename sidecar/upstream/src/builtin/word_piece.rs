//! The built-in model's tokenizer: BERT's, without case and accents. It says the tokens and nothing else of them: no offsets, no masks.
//!
//! Source: google-research/bert, `tokenization.py` (`BasicTokenizer`, `WordpieceTokenizer`), in the form that the file of the Hugging Face crate
//! `tokenizers` describes (`BertNormalizer`, `BertPreTokenizer`, `WordPiece`). A test compares it with that crate.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, Error, Visitor},
};
use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// How a piece within a word is marked in the vocabulary.
const CONTINUES: &str = "##";
/// What the names of special tokens begin with.
const SPECIAL: char = '[';

/// The tokenizer.
#[derive(Debug)]
pub(super) struct WordPiece {
    /// What a word may begin with.
    first: Vocabulary,
    /// How it may go on.
    further: Vocabulary,
    /// The longest word that is cut into pieces, in characters.
    max_characters: usize,
    /// The token of a word that has a piece that is none.
    unknown: u32,
    /// Names of tokens that a text may have literally.
    special: Vec<(String, u32)>,
}

/// The file, as far as it says what is not the same for all tokenizers of this kind.
#[derive(Deserialize)]
struct TokenizerFile<'a> {
    added_tokens: Vec<AddedToken>,
    #[serde(borrow)]
    model: ModelPart<'a>,
    normalizer: NormalizerPart,
    pre_tokenizer: Part,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct ModelPart<'a> {
    r#type: String,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    #[serde(borrow)]
    vocab: HashMap<Piece<'a>, u32>,
}

#[derive(Deserialize)]
struct NormalizerPart {
    r#type: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    /// None: as `lowercase`.
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
}

/// A piece of the vocabulary, borrowed where it has no escapes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Piece<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Piece<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PieceVisitor;
        impl<'de> Visitor<'de> for PieceVisitor {
            type Value = Piece<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a piece of a word")
            }
            fn visit_borrowed_str<E: Error>(self, piece: &'de str) -> Result<Piece<'de>, E> {
                Ok(Piece(Cow::Borrowed(piece)))
            }
            fn visit_str<E: Error>(self, piece: &str) -> Result<Piece<'de>, E> {
                Ok(Piece(Cow::Owned(piece.to_owned())))
            }
        }
        deserializer.deserialize_str(PieceVisitor)
    }
}

/// Pieces of words and their tokens.
#[derive(Debug, Default)]
struct Vocabulary {
    tokens: HashMap<Cow<'static, str>, u32>,
    /// The longest piece, in bytes.
    longest: usize,
}

impl Vocabulary {
    fn add(&mut self, piece: Cow<'static, str>, token: u32) {
        self.longest = self.longest.max(piece.len());
        self.tokens.insert(piece, token);
    }

    /// The longest piece that a word begins with, and what follows it.
    fn longest_of<'w>(&self, word: &'w str) -> Option<(u32, &'w str)> {
        let mut end = word.floor_char_boundary(self.longest);
        while end > 0 {
            let (piece, rest) = word.split_at_checked(end)?;
            if let Some(token) = self.tokens.get(piece) {
                return Some((*token, rest));
            }
            end -= piece.chars().next_back().map_or(end, char::len_utf8);
        }
        None
    }
}

/// Room for one word at a time, kept from text to text.
#[derive(Debug, Default)]
pub(super) struct Room {
    word: String,
    tokens: Vec<u32>,
}

impl WordPiece {
    /// The tokenizer that a file describes; the error says why it is not of this kind.
    pub(super) fn read(file: &'static [u8]) -> Result<Self, String> {
        let file: TokenizerFile<'static> = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        let TokenizerFile { added_tokens, model, normalizer, pre_tokenizer } = file;
        let ModelPart { r#type, unk_token, continuing_subword_prefix, max_input_chars_per_word, vocab } = model;
        let NormalizerPart { r#type: normalizing, clean_text, handle_chinese_chars, strip_accents, lowercase } =
            normalizer;
        let is_right = r#type == "WordPiece"
            && continuing_subword_prefix == CONTINUES
            && normalizing == "BertNormalizer"
            && clean_text
            && handle_chinese_chars
            && strip_accents.unwrap_or(lowercase)
            && lowercase
            && pre_tokenizer.r#type == "BertPreTokenizer"
            && added_tokens.iter().all(|token| token.content.starts_with(SPECIAL));
        if !is_right {
            return Err("it is not a tokenizer of BERT's without case".to_owned());
        }
        let unknown = vocab.get(&Piece(Cow::Borrowed(&unk_token))).copied().ok_or("the unknown word has no token")?;
        let (mut first, mut further) = (Vocabulary::default(), Vocabulary::default());
        for (Piece(piece), token) in vocab {
            let behind = match &piece {
                Cow::Borrowed(piece) => piece.strip_prefix(CONTINUES).map(Cow::Borrowed),
                Cow::Owned(piece) => piece.strip_prefix(CONTINUES).map(|piece| Cow::Owned(piece.to_owned())),
            };
            if let Some(behind) = behind.filter(|behind| !behind.is_empty()) {
                further.add(behind, token);
            }
            // A word is cut at `#`, so that none begins with the mark.
            first.add(piece, token);
        }
        let special = added_tokens.into_iter().map(|token| (token.content, token.id)).collect();
        Ok(Self { first, further, max_characters: max_input_chars_per_word, unknown, special })
    }

    /// The token of a word that has a piece that is none.
    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Hands on the tokens of a text, one by one.
    pub(super) fn each(&self, text: &str, room: &mut Room, mut token: impl FnMut(u32)) {
        let mut rest = text;
        while let Some((before, special, behind)) = self.next_special(rest) {
            self.words(before, room, &mut token);
            token(special);
            rest = behind;
        }
        self.words(rest, room, &mut token);
    }

    /// The first special token of a text, and what is before and behind it.
    fn next_special<'t>(&self, text: &'t str) -> Option<(&'t str, u32, &'t str)> {
        text.match_indices(SPECIAL).find_map(|(at, _)| {
            let (before, rest) = text.split_at_checked(at)?;
            self.special.iter().find_map(|(name, token)| Some((before, *token, rest.strip_prefix(name.as_str())?)))
        })
    }

    /// Cuts a text into words: at white space, and around each sign of punctuation and each Chinese character.
    fn words(&self, text: &str, room: &mut Room, token: &mut impl FnMut(u32)) {
        if text.is_ascii() {
            // The same as below, which is slower. Control characters are left out.
            for byte in text.bytes() {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\r' => self.end(room, token),
                    _ if byte.is_ascii_punctuation() => self.alone(char::from(byte), room, token),
                    _ if byte.is_ascii_control() => {}
                    _ => room.word.push(char::from(byte.to_ascii_lowercase())),
                }
            }
        } else {
            let cleaned = text.chars().filter(|c| is_kept(*c)).map(|c| if is_space(c) { ' ' } else { c });
            let apart = cleaned
                .flat_map(|c| if is_chinese(c) { [Some(' '), Some(c), Some(' ')] } else { [Some(c), None, None] });
            let plain = apart.flatten().nfd().filter(|c| !c.is_mark_nonspacing());
            for c in plain.flat_map(char::to_lowercase) {
                if c.is_whitespace() {
                    self.end(room, token);
                } else if c.is_ascii_punctuation() || c.is_punctuation() {
                    self.alone(c, room, token);
                } else {
                    room.word.push(c);
                }
            }
        }
        self.end(room, token);
    }

    /// A sign that is a word of its own.
    fn alone(&self, sign: char, room: &mut Room, token: &mut impl FnMut(u32)) {
        self.end(room, token);
        room.word.push(sign);
        self.end(room, token);
    }

    /// Cuts the word that has come to its end into pieces, each as long as can be.
    fn end(&self, Room { word, tokens }: &mut Room, token: &mut impl FnMut(u32)) {
        if word.is_empty() {
            return;
        }
        tokens.clear();
        let is_long = word.len() > self.max_characters && word.chars().count() > self.max_characters;
        let (mut rest, mut vocabulary) = (word.as_str(), &self.first);
        let mut is_known = !is_long;
        while is_known && !rest.is_empty() {
            match vocabulary.longest_of(rest) {
                Some((piece, behind)) => {
                    tokens.push(piece);
                    (rest, vocabulary) = (behind, &self.further);
                }
                None => is_known = false,
            }
        }
        if is_known {
            for piece in tokens.iter() {
                token(*piece);
            }
        } else {
            token(self.unknown);
        }
        word.clear();
    }
}

fn is_kept(c: char) -> bool {
    c != '\0' && c != '\u{fffd}' && (matches!(c, '\t' | '\n' | '\r') || !c.is_other())
}

fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// A character of the blocks of CJK ideographs, as BERT has them.
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use tokenizers::Tokenizer;

    use super::{super::TOKENIZER, *};

    static OURS: LazyLock<WordPiece> = LazyLock::new(|| WordPiece::read(TOKENIZER).unwrap());
    static THEIRS: LazyLock<Tokenizer> = LazyLock::new(|| {
        let mut tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
        tokenizer.with_truncation(None).unwrap();
        tokenizer.with_padding(None);
        tokenizer
    });

    fn ours(text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        OURS.each(text, &mut Room::default(), |token| tokens.push(token));
        tokens
    }

    fn theirs(text: &str) -> Vec<u32> {
        THEIRS.encode_fast(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn texts_have_the_tokens_that_the_reference_gives_them() {
        for text in [
            "",
            " ",
            "Hello, world!",
            "The quick brown fox jumps over the lazy dog.",
            "unaffable embeddings tokenization",
            "Ünïcödé Ångström naïve ﬁancé ǅ",
            "日本語のテキスト🦀 中文 한국어 가나다",
            "a[MASK]b [UNK] [unk] [CLS",
            "[[SEP]]",
            "tab\tnew\nline\r\u{b}\u{c}\u{0}\u{7f}end",
            "\"quoted\" \\back\\ ##mark #hash",
            "e\u{301} ﷺ ½ \u{200d}\u{fffd} x\u{a0}y\u{2003}z",
            "\u{1d165}\u{1d16e} \u{302e}\u{301}a",
        ] {
            assert_eq!(ours(text), theirs(text), "{text:?}");
        }
        for length in [99, 100, 101, 5_000] {
            let (ascii, wide) = ("x".repeat(length), "é".repeat(length));
            assert_eq!((ours(&ascii), ours(&wide)), (theirs(&ascii), theirs(&wide)), "{length}");
        }
    }

    #[test]
    fn every_character_is_what_it_is_for_the_reference() {
        let all: Vec<char> = (0..0x3_0000).filter_map(char::from_u32).collect();
        for some in all.chunks(64) {
            let text: String = some.iter().flat_map(|c| ['a', *c, 'b', ' ', *c, ' ']).collect();
            if ours(&text) != theirs(&text) {
                for c in some {
                    let text = format!("a{c}b {c} ");
                    assert_eq!(ours(&text), theirs(&text), "{:x}", u32::from(*c));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_has_the_tokens_that_the_reference_gives_it(
            text in "(\\PC|[a-z ]|[A-Z0-9.,;:'\"#\\[\\]-]|\\[MASK\\]|[\u{300}-\u{36f}]|[\u{4e00}-\u{4e40}]|\\s){0,80}",
        ) {
            prop_assert_eq!(ours(&text), theirs(&text), "{:?}", text);
        }
    }
}
