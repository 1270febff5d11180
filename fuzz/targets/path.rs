//! Any text as the path of a PATCH operation: it is read or refused, and what is read prints to a text that reads as the
//! same path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scimgate_fuzz::scim::error::Rule;
use scimgate_fuzz::scim::normalize::Trace;
use scimgate_fuzz::scim::path::Path;
use scimgate_fuzz::user_type;

fuzz_target!(|text: &str| {
    let read = |text: &str| Path::parse(user_type(), text, &mut Trace::default());
    match read(text) {
        Ok(None) => {}
        Ok(Some(path)) => {
            assert_eq!(path.definition(user_type()).is_some(), path.attribute().is_some());
            let printed = path.to_string();
            match read(&printed) {
                Ok(again) => assert!(again == Some(path), "{text}\nis printed as\n{printed}"),
                // The canonical form may be longer, and deeper by a little.
                Err(error) => assert!(
                    matches!(error.rule(), Rule::PathTooLong | Rule::FilterTooDeep),
                    "{printed}"
                ),
            }
        }
        Err(error) => assert!(error.detail().is_ascii()),
    }
});
