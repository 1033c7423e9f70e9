//! What a build lacks. The default one has not all types, and `--no-default-features` has few.

use super::sink::BY_FEATURE;
use super::*;

#[test]
fn a_type_that_this_build_lacks_names_the_feature_that_has_it() {
    for (word, is_built) in BY_FEATURE {
        let text = format!("[[sink]]\ntype = {word:?}\nnothing = 1\n");
        let found = mistakes(&format!("{ENDPOINT}{text}"));
        let mut says_so = found
            .iter()
            .filter(|it| it.1.contains("is not in this build"));
        if is_built {
            assert_eq!(says_so.next(), None, "{word}");
            continue;
        }
        let Some((line, message)) = says_so.next() else {
            panic!("it is said: {found:?}");
        };
        // Behind the seven of the endpoint.
        assert_eq!(*line, 9);
        assert!(message.contains(&format!("--features {word}, or take a package")));
    }
}
