//! The one way in which strings that are not `caseExact` are compared (RFC 7643 §2.2).

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

/// `text` in the form under which two spellings of the same thing are equal: NFKC, full case folding, NFKC.
///
/// Index keys, uniqueness, `eq` and sorting all use it, so a name found to be free by a filter is free for a create
/// too. It is stricter than lower-casing: `ß` equals `SS`, a composed letter its decomposed form, a full-width letter
/// its ordinary one; the Turkish dotless `ı` stays different from `i`.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let nfkc = ComposingNormalizer::new_nfkc();
    let folded = CaseMapper::new().fold_string(&nfkc.normalize(text)).into_owned();
    nfkc.normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fold;

    #[track_caller]
    fn check(same: bool, one: &str, other: &str) {
        assert_eq!(
            fold(one) == fold(other),
            same,
            "{one:?} {other:?} fold to {:?} {:?}",
            fold(one),
            fold(other)
        );
    }

    #[test]
    fn spellings_of_the_same_thing_fold_to_the_same() {
        check(true, "BJensen@Example.com", "bjensen@example.COM");
        check(true, "straße", "STRASSE");
        check(true, "Straße", "straẞe");
        check(true, "\u{e9}", "E\u{301}");
        check(true, "ＢＪＥＮＳＥＮ", "bjensen");
        check(true, "ﬁona", "FIONA");
        check(true, "ΣΊΣΥΦΟΣ", "σίσυφος");
        check(true, "Å", "\u{212b}");
        check(true, "K", "\u{212a}");
    }

    #[test]
    fn different_things_stay_different() {
        check(false, "ı", "i");
        check(false, "ı", "I");
        check(false, "é", "e");
        check(false, "ø", "o");
        check(false, "bjensen", "bjensen ");
        check(false, "а", "a"); // Cyrillic and Latin
    }

    /// An index key made of a folded value must be the key of the value.
    #[test]
    fn folding_twice_is_folding_once() {
        for c in '\0'..='\u{1ffff}' {
            let once = fold(&c.to_string());
            assert_eq!(fold(&once), once, "U+{:04X}", u32::from(c));
        }
    }

    proptest! {
        #[test]
        fn folding_texts_twice_is_folding_once(
            text in "([A-Zßſİı\u{300}-\u{36f}α-ωᾀ-ᾼ\u{1100}-\u{11ff}ﬀ-ﬆ]|.){0,8}"
        ) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
