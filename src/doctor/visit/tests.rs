use super::without_secret;

#[track_caller]
fn check(bytes: &str, shown: &str) {
    let secret = b"sg_0123456789abcdef";
    assert_eq!(
        String::from_utf8(without_secret(bytes.as_bytes(), secret)).unwrap(),
        shown
    );
}

#[test]
fn a_token_that_is_sent_back_is_not_shown() {
    check("no token", "no token");
    check("Bearer sg_0123456789abcdef!", "Bearer (a secret)!");
    check("cut off: sg_012345", "cut off: (a secret)");
    check("89abcdef, behind its beginning", "(a secret), behind its beginning");
    check("sg_0", "sg_0");
    assert_eq!(without_secret(b"without a token", b""), b"without a token");
}
