//! What apt says about packages, as paragraphs of fields (deb822(5)).

use std::collections::BTreeMap;

/// One paragraph. Field names are in lower case: they are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    fields: BTreeMap<String, String>,
}

impl Stanza {
    /// A field's value. Lines of a value that has several are kept apart.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .get(&name.to_ascii_lowercase())
            .map(String::as_str)
    }
}

/// Splits text into its paragraphs. Lines that are neither field nor continuation are passed over.
pub(super) fn parse(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut stanza = Stanza::default();
    let mut last = None::<String>;
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            if !stanza.fields.is_empty() {
                stanzas.push(std::mem::take(&mut stanza));
            }
            last = None;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| stanza.fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            stanza.fields.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    stanzas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fields_and_continuations_are_told_apart() {
        let stanzas = parse(
            "Package: a\nSHA256: 12\nDescription: short\n long: one\n .\n long two\n\n\nPackage: b\nVersion: 1:2.0-1\n",
        );
        let [a, b] = stanzas.as_slice() else {
            panic!("{stanzas:?}")
        };
        assert_eq!(a.get("sha256"), Some("12"));
        assert_eq!(a.get("Description"), Some("short\nlong: one\n.\nlong two"));
        assert_eq!(b.get("Package"), Some("b"));
        assert_eq!(b.get("Version"), Some("1:2.0-1"));
        assert_eq!(b.get("SHA256"), None);
    }

    #[test]
    fn empty_text_has_no_paragraph() {
        assert!(parse("\n\n  \n").is_empty());
        assert!(parse(" continuation of nothing\n").is_empty());
    }
}
