//! Reading the XML of AWS's query APIs, as far as needed: texts of elements by their names.

use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

/// The text of the first element of each name, wherever it stands; none if this is not XML.
pub(crate) fn texts<const N: usize>(xml: &str, names: [&str; N]) -> Option<[Option<String>; N]> {
    let mut found = [const { None }; N];
    let mut reader = Reader::from_str(xml);
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) => text.clear(),
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::CData(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_xml_entity(&reference)?),
            },
            Event::End(end) => {
                let local = end.local_name();
                let place = names.iter().zip(&mut found).find(|(name, _)| **name == local.as_ref());
                if let Some((_, place @ None)) = place {
                    *place = Some(text.trim().to_owned());
                }
                text.clear();
            }
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            // Nothing that has one is an answer of AWS's.
            Event::DocType(_) => return None,
            Event::Eof => return Some(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_name() {
        let found = |xml: &str| texts(xml, ["A", "B"]);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found("<?xml version='1.0'?><X xmlns='u'><A> 1 </A><B>2</B></X>"), Some([some("1"), some("2")]));
        assert_eq!(found("<X><A>a&lt;&#x41;&amp;b</A></X>"), Some([some("a<A&b"), None]));
        assert_eq!(found("<X><A><![CDATA[a<b]]></A><A>second</A></X>"), Some([some("a<b"), None]));
        assert_eq!(found("<p:X><p:A>1</p:A><B/></p:X>"), Some([some("1"), None]));
        for not_xml in ["<X><A>1</B></X>", "<X><A>&unknown;</A></X>", "<!DOCTYPE html><A>1</A>", "<A"] {
            assert_eq!(found(not_xml), None, "{not_xml}");
        }
        assert_eq!(found("no markup"), Some([None, None]));
    }
}
