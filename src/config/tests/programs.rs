//! What the program of an `exec` sink gets of secrets.

use super::*;

#[test]
fn each_mistake_in_the_variables_of_a_program_has_its_message() {
    let long = tempfile::NamedTempFile::new().expect("a file");
    fs::write(long.path(), "x".repeat(70_000)).expect("written");
    let nul = tempfile::NamedTempFile::new().expect("a file");
    fs::write(nul.path(), b"hun\0ter2\0\x01").expect("written");
    let file = |file: &tempfile::NamedTempFile| format!("{{ A = {{ file = {:?} }} }}", file.path());
    for (env, part) in [
        ("\"A=b\"", "env must be written as"),
        ("[\"A=b\"]", "env must be written as"),
        ("{ A = \"hunter2\" }", "A holds the secret itself"),
        ("{ A = 1 }", "A must be written as { env = \"NAME\" }"),
        (
            "{ A = { env = \"MISSING\" } }",
            "A: the environment variable MISSING is not set",
        ),
        ("{ \"A B\" = { env = \"TOKEN\" } }", "no name of a variable"),
        ("{ \"A=B\" = { env = \"TOKEN\" } }", "no name of a variable"),
        ("{ \"\" = { env = \"TOKEN\" } }", "no name of a variable"),
        ("{ 1A = { env = \"TOKEN\" } }", "no name of a variable"),
        (
            "{ HOOKLINE_SINK = { env = \"TOKEN\" } }",
            "HOOKLINE_SINK in env is reserved",
        ),
        (
            "{ HOOKLINE_MINE = { env = \"TOKEN\" } }",
            "HOOKLINE_MINE in env is reserved",
        ),
        (
            "{ hookline_attempt = { env = \"TOKEN\" } }",
            "hookline_attempt in env is reserved",
        ),
        (&file(&nul), "A holds a NUL"),
        (&file(&long), "env holds more than 65536 bytes"),
    ] {
        let message = mistake(&format!(
            "[[sink]]\ntype = \"exec\"\ncommand = [\"/bin/cat\"]\nenv = {env}"
        ));
        assert!(message.contains(part), "{env}\n{message}");
        assert!(!message.contains("ter2"), "{message}");
    }
    let message = mistake("[[sink]]\ntype = \"stdout\"\nenv = { A = { env = \"TOKEN\" } }");
    assert!(
        message.contains("env belongs to a sink of type \"exec\""),
        "{message}"
    );
}
