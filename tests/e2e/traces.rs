//! What somebody has got hold of, and whether a secret is in it, in whatever clothes.

use std::path::Path;

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

/// A text that must not be found: as it is, in hexadecimal, and as a part of anything in base64, of either alphabet.
pub struct Secret {
    name: &'static str,
    text: Vec<u8>,
    forms: Vec<Vec<u8>>,
}

/// What is larger is a memory: texts are in it as they are, and looking for all forms would take long.
const LARGE: usize = 1 << 20;

impl Secret {
    pub fn new(name: &'static str, text: &str) -> Self {
        let mut forms = vec![hex::encode(text).into_bytes()];
        // Three characters are four of base64: what stands before the text moves it by none, one or two.
        for before in 0..3 {
            let moved = [&vec![0; before], text.as_bytes()].concat();
            let encoded = BASE64_STANDARD_NO_PAD.encode(&moved);
            // The characters that are the text's alone.
            let own = (before * 4).div_ceil(3)..moved.len() * 8 / 6;
            let form = encoded.get(own).unwrap_or_default();
            forms.push(form.as_bytes().to_vec());
            forms.push(form.replace('+', "-").replace('/', "_").into_bytes());
        }
        Self { name, text: text.as_bytes().to_vec(), forms }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        has(bytes, &self.text) || bytes.len() < LARGE && self.forms.iter().any(|form| has(bytes, form))
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return false };
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = left.get(at + 1..).unwrap_or_default();
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

/// All that somebody has found, and where.
#[derive(Default)]
pub struct Loot(Vec<(String, Vec<u8>)>);

impl Loot {
    pub fn add(&mut self, place: impl Into<String>, found: impl Into<Vec<u8>>) {
        self.0.push((place.into(), found.into()));
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Where it was found.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(place, _)| &**place)
    }

    /// That of these nothing is in it.
    pub fn ensure_free_of(&self, secrets: &[Secret]) -> anyhow::Result<()> {
        ensure!(!self.0.is_empty(), "nothing was looked at");
        for secret in secrets {
            for (place, found) in &self.0 {
                ensure!(!secret.is_in(found), "{} is in {place}", secret.name);
            }
        }
        Ok(())
    }

    /// That all of these are in it: whoever looks must be able to find.
    pub fn ensure_has(&self, secrets: &[Secret]) -> anyhow::Result<()> {
        for secret in secrets {
            ensure!(self.0.iter().any(|(_, found)| secret.is_in(found)), "{} was not found", secret.name);
        }
        Ok(())
    }

    /// How much it is.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, found)| found.len()).sum()
    }
}

/// All files below a folder. What cannot be read is nothing that was found.
pub fn files(folder: &Path, named: &str, loot: &mut Loot) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        let name = format!("{named}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            files(&path, &name, loot)?;
        } else if let Ok(content) = std::fs::read(&path) {
            loot.add(name, content);
        }
    }
    Ok(())
}
