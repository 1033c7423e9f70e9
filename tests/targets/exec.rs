//! A program that reads a stream of events, keeps each, and says so.

use super::queue::{ATTEMPTS, FEW_ATTEMPTS, PASSWORD, Queue};
use super::target::{Delivered, SINK, Target};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;

pub(crate) struct ExecProgram {
    queue: Queue,
    max_attempts: u32,
}

impl ExecProgram {
    /// The program that runs, or ran last. One that Hookline has ended needs no signal.
    fn signal(&self, signal: Signal) {
        let pid = fs::read_to_string(self.queue.file("pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Target for ExecProgram {
    const EXACTLY_ONCE: bool = false;
    const COUNTS_KNOWN: bool = false;
    const KNOWS_SIZES: bool = false;

    fn start() -> Option<ExecProgram> {
        let queue = Queue::new();
        fs::write(queue.file("program"), PROGRAM).expect("written");
        Some(ExecProgram {
            queue,
            max_attempts: ATTEMPTS,
        })
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"exec\"\nmode = \"stream\"\ncommand = [\"/bin/sh\", \"{}\", \"{}\"]\n\
             env = {{ TARGET_PASSWORD = {{ env = \"EXEC_PASSWORD\" }} }}\ntimeout = \"10s\"\nretry_min = \"10ms\"\n\
             retry_max = \"200ms\"\nmax_attempts = {}",
            self.queue.file("program").display(),
            self.queue.path().display(),
            self.max_attempts
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("EXEC_PASSWORD", PASSWORD)
    }

    fn give_up_soon(&mut self) {
        self.max_attempts = FEW_ATTEMPTS;
    }

    fn state(&self) -> Option<PathBuf> {
        Some(self.queue.file("queue"))
    }

    fn kill(&mut self) {
        // It is started again at once, and ends.
        self.queue.is_down(true);
        self.signal(Signal::KILL);
    }

    fn start_again(&mut self) {
        self.queue.is_down(false);
    }

    fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    fn take_login(&mut self, takes: bool) {
        self.queue.take_login(takes);
    }

    fn remove(&mut self) {
        self.queue.remove();
    }

    fn create(&mut self) {
        self.queue.create();
    }

    fn limit(&mut self, bytes: usize) -> bool {
        self.queue.limit(bytes);
        true
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.queue.delivered()
    }
}

/// Says who it is before it looks whether it may run: whoever takes it down sees one or the other.
const PROGRAM: &str = r#"
echo $$ > "$1/pid"
[ ! -e "$1/down" ] || exit 1
while IFS= read -r line; do
    at=${line#*\"position\":\"}
    at=${at%%\"*}
    read -r password < "$1/password"
    read -r limit < "$1/limit"
    if [ "$TARGET_PASSWORD" != "$password" ]; then
        echo "retry $at wrong login"
    elif [ "${#line}" -ge "$limit" ]; then
        echo "retry $at too large"
    elif printf '%s\n' "$line" >> "$1/queue/taken"; then
        echo "ok $at"
    else
        echo "retry $at no queue"
    fi
done 2> /dev/null
"#;
