//! What code that vouches for nothing can't do: each file in `misuse/` is a crate under
//! `deny(unsafe_code)` that makes one mistake with the machine, and the compiler refuses it for
//! that mistake. `right_use.rs` does the same rightly, and compiles.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TARGET: &str = "aarch64-unknown-none-softfloat";

/// What the compiler says first about each case.
const REFUSED: [(&str, &str); 10] = [
    ("write_anywhere", "error[E0308]: mismatched types"),
    (
        "free_anything",
        "error[E0423]: cannot initialize a tuple struct",
    ),
    ("other_cpus_interrupt", "error[E0308]: mismatched types"),
    (
        "cpu_taken_along",
        "error[E0277]: `*mut ()` cannot be sent between threads safely",
    ),
    ("forged_cpu", "error[E0133]: call to unsafe function"),
    ("forged_module", "error[E0133]: call to unsafe function"),
    (
        "module_of_bytes",
        "error[E0451]: field `bytes` of struct `BootModule` is private",
    ),
    ("start_anywhere", "error[E0133]: call to unsafe function"),
    ("any_call", "error[E0133]: call to unsafe function"),
    ("unsafe_block", "error: usage of an `unsafe` block"),
];

/// A command in this crate's folder that compiles as the build of an image does, whatever this test
/// was compiled with.
fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(variable);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The hypervisor's library for the machine, and the one of addresses, as far as a compiler needs
/// them.
struct Libraries {
    hypervisor: PathBuf,
    addresses: PathBuf,
}

impl Libraries {
    fn build() -> Self {
        let output = tool(env!("CARGO"))
            .args(["check", "--quiet", "--lib", "--target", TARGET])
            .args(["--message-format", "json"])
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "the hypervisor does not build: {}",
            text(&output.stderr)
        );
        let messages = text(&output.stdout);
        let metadata = |name: &str| {
            let prefix = format!("lib{name}-");
            messages
                .split('"')
                .map(Path::new)
                .find(|path| {
                    let file = path.file_name().and_then(|file| file.to_str());
                    file.is_some_and(|file| file.starts_with(&prefix) && file.ends_with(".rmeta"))
                })
                .unwrap_or_else(|| panic!("cargo names no {prefix}*.rmeta"))
                .to_owned()
        };
        Self {
            hypervisor: metadata("hypervisor"),
            addresses: metadata("addresses"),
        }
    }

    /// Compiles a case.
    fn compile(&self, case: &str) -> Output {
        let folder = self
            .hypervisor
            .parent()
            .expect("a library lies in a folder");
        let out = tempfile::tempdir().expect("a folder for what is compiled");
        tool("rustc")
            .args([
                "--edition=2024",
                "--crate-type=lib",
                "--emit=metadata",
                "--target",
                TARGET,
            ])
            .arg(format!("--extern=hypervisor={}", self.hypervisor.display()))
            .arg(format!("--extern=addresses={}", self.addresses.display()))
            .arg(format!("-Ldependency={}", folder.display()))
            // Macros of dependencies run on the host.
            .arg(format!(
                "-Ldependency={}",
                folder.join("../../../debug/deps").display()
            ))
            .arg("--out-dir")
            .arg(out.path())
            .arg(format!("tests/misuse/{case}.rs"))
            .output()
            .expect("rustc runs")
    }
}

#[test]
fn code_that_vouches_for_nothing_cant_misuse_the_machine() {
    let libraries = Libraries::build();
    let right = libraries.compile("right_use");
    assert!(right.status.success(), "{}", text(&right.stderr));
    for (case, expected) in REFUSED {
        let output = libraries.compile(case);
        let said = text(&output.stderr);
        let errors: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("error") && !line.contains("aborting due to"))
            .collect();
        assert!(!output.status.success(), "{case} compiles");
        assert!(
            matches!(errors.as_slice(), [error] if error.starts_with(expected)),
            "{case} is refused for something else: {said}"
        );
    }
}

#[test]
fn each_case_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misuse");
    let files = std::fs::read_dir(folder).expect("the cases are there");
    for file in files {
        let file = file.expect("the folder can be read").file_name();
        let case = text(file.as_encoded_bytes());
        let case = case.trim_end_matches(".rs");
        assert!(
            case == "right_use" || REFUSED.iter().any(|(name, _)| *name == case),
            "{case} is not compiled"
        );
    }
}
