//! Long times as people read them.

/// The two largest units of some seconds.
pub(super) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, length) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count}{name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_left_out() {
        let spans = [0, 59, 60, 3601, 90_000, 8 * 86_400].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "1h", "1d 1h", "8d"]);
    }
}
