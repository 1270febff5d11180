//! Any text as a filter: it is read or refused, and what is read prints to a text that reads as the same filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scimgate_fuzz::scim::error::Rule;
use scimgate_fuzz::scim::filter;
use scimgate_fuzz::scim::normalize::Trace;
use scimgate_fuzz::{user, user_type};

fuzz_target!(|text: &str| {
    let read = |text: &str| filter::parse(user_type(), text, &mut Trace::default());
    match read(text) {
        Ok(filter) => {
            let _ = filter.matches(user().as_map());
            let _ = (filter.equalities(), filter.mentions("emails"));
            let printed = filter.to_string();
            match read(&printed) {
                Ok(again) => assert!(
                    again == filter,
                    "{text}\nis printed as\n{printed}\nand reads as\n{again}"
                ),
                // The canonical form may be longer, and deeper by a little.
                Err(error) => assert!(
                    matches!(error.rule(), Rule::FilterTooLong | Rule::FilterTooDeep),
                    "{printed}"
                ),
            }
        }
        Err(error) => assert!(error.detail().is_ascii()),
    }
});
