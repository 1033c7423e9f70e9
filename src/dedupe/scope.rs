//! Whose updates are compared with whose.

use crate::event::Event;

/// Which endpoints know what came to another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each knows only what came to itself: one tenant's events say nothing of another's.
    #[default]
    Endpoint,
    /// All endpoints for the platform (`meta`, `360dialog`) are one; those for other senders stay apart.
    All,
}

impl Scope {
    /// The same number for two endpoints that know of each other. `endpoint` is the number that the journal gives,
    /// from 1 on, and `foreign` is true for one that is for other senders than the platform. For endpoint 0, which
    /// stands where nobody wrote one down, it is `ANY`.
    pub fn group(self, endpoint: u16, foreign: bool) -> u32 {
        match self {
            Scope::All if endpoint > 0 && !foreign => PLATFORM,
            Scope::All | Scope::Endpoint => u32::from(endpoint),
        }
    }

    /// The same for the endpoint of an event.
    pub fn group_of(self, event: Event<'_>) -> u32 {
        self.group(event.endpoint(), event.is_foreign())
    }
}

/// The group of what older versions have written, which is known at every endpoint.
pub(super) const ANY: u32 = 0;

/// Above all numbers of endpoints.
const PLATFORM: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::{ANY, Scope};

    #[test]
    fn all_joins_the_endpoints_of_the_platform_and_nothing_else() {
        let own = |scope: Scope| {
            [(1, false), (2, false), (3, true), (4, true)].map(|(n, f)| scope.group(n, f))
        };
        assert_eq!(own(Scope::Endpoint), [1, 2, 3, 4]);
        let [meta, dialog, hmac, standard] = own(Scope::All);
        assert_eq!((meta, hmac, standard), (dialog, 3, 4));
        assert!(![ANY, hmac, standard].contains(&meta));
        assert_eq!(Scope::All.group(0, false), ANY);
    }
}
