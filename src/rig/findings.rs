//! What is wrong with a journal, measured by what was sent and answered.

/// What is wrong, in notifications; all of it 0 is what is promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) lost: u64,
    pub(crate) altered: u64,
    pub(crate) invented: u64,
    pub(crate) duplicated: u64,
    pub(crate) disordered: u64,
    pub(crate) moved: u64,
    /// The first of them, each in a line.
    pub(crate) examples: Vec<String>,
}

impl Findings {
    /// True when nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        *self == Findings::default()
    }

    pub(crate) fn note(&mut self, kind: Kind, count: u64, example: impl FnOnce() -> String) {
        let (counter, name) = match kind {
            Kind::Lost => (&mut self.lost, "lost"),
            Kind::Altered => (&mut self.altered, "altered"),
            Kind::Invented => (&mut self.invented, "invented"),
            Kind::Duplicated => (&mut self.duplicated, "duplicated"),
            Kind::Disordered => (&mut self.disordered, "out of order"),
            Kind::Moved => (&mut self.moved, "moved"),
        };
        *counter += count;
        if count > 0 && self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{name}: {}", example()));
        }
    }
}

/// What can be wrong.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Lost,
    Altered,
    Invented,
    Duplicated,
    Disordered,
    Moved,
}

/// Where a stored body is not the one that was sent.
pub(crate) fn difference(sent: &[u8], stored: &[u8]) -> Option<String> {
    let same = sent.iter().zip(stored).take_while(|(a, b)| a == b);
    (sent != stored).then(|| {
        let (at, length, expected) = (same.count(), stored.len(), sent.len());
        format!("other from byte {at} on, length {length} for {expected}")
    })
}

/// Findings that are listed one by one.
const EXAMPLES_MAX: usize = 20;
