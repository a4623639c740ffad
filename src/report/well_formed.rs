//! Whether a page is well-formed, for tests.
//!
//! Owns a stand-in for a parser that knows elements, quoted attributes and entities. Never accepts
//! an element that is left open.

/// The tags that are open at the end of each line, and a panic where the text is not well-formed:
/// a stand-in for a parser that knows elements, quoted attributes and entities.
pub(crate) fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['<', '&']) {
        let (at, after) = rest[start..].split_at(1);
        if at == "&" {
            let entity = after.split_once(';').map(|(name, _)| name).unwrap();
            let known = ["amp", "lt", "gt", "quot", "#39"];
            assert!(known.contains(&entity), "unknown entity near {:.60}", &rest[start..]);
            rest = after;
            continue;
        }
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "broken tag <{tag}>");
        let name = tag.trim_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {after:.60}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
}
