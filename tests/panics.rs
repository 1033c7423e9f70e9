//! A panic in the log. It takes the hook of the process, in which no other test may fail meanwhile.

use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex};

/// A panic is one event, in JSON too.
#[test]
fn a_panic_is_an_event() {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let before = std::panic::take_hook();
    hookline::testing::log::log_panics();
    let caught = tracing::subscriber::with_default(subscriber, || {
        std::panic::catch_unwind(|| panic!("of {} reasons", 3))
    });
    std::panic::set_hook(before);
    assert!(caught.is_err());
    let text = String::from_utf8(buffer.0.lock().expect("whole").clone()).expect("text");
    let event: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!(
        (&event["level"], &event["panic"]),
        (&"ERROR".into(), &"of 3 reasons".into())
    );
    assert!(
        event["place"]
            .as_str()
            .is_some_and(|it| it.contains("tests/panics.rs"))
    );
}
