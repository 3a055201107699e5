//! Numbers of things, for a person to read.

/// `1 vCPU`, `2 vCPUs`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let texts = [0, 1, 2].map(|count| counted(count, "CPU"));
        assert_eq!(texts, ["0 CPUs", "1 CPU", "2 CPUs"]);
    }
}
