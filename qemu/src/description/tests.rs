//! One test for each reason to refuse, and for what is taken when a field is left out.

use host_abi::binding::RESERVED_NAMES;
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;

use tempfile::TempDir;

use host_abi::binding::{LogLevel, TeeChoice};
use smccc::Conduit;

use super::*;
use crate::description::kernel_image::tests::header;

/// A description's folder, to put a user's own files into.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn with(&self, text: &str, overrides: &Overrides) -> Result<Description, ConfigError> {
        Description::parse(&self.path("machine.toml"), text, overrides)
    }

    fn parse(&self, text: &str) -> Result<Description, ConfigError> {
        self.with(text, &Overrides::default())
    }
}

fn parse(text: &str) -> Result<Description, ConfigError> {
    Folder::new().parse(text)
}

/// Asserts that `result` is a refusal of `place` whose problem has `problem` in it, and that it
/// says what to do.
#[track_caller]
fn refused(result: Result<Description, ConfigError>, place: &str, problem: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.place, place, "{error}");
    assert!(error.problem.contains(problem), "{error}");
    assert!(!error.remedy.is_empty(), "{error}");
    let shown = error.to_string();
    assert!(shown.contains(&*error.file.to_string_lossy()), "{shown}");
    assert!(shown.contains(&error.remedy), "{shown}");
}

const GUEST: &str = "[[guest]]\nname = \"vm1\"\nmemory = \"512MiB\"\n";

fn guest_with(fields: &str) -> String {
    format!("{GUEST}{fields}\n")
}

fn exec(guest: &str, command: &str) -> Overrides {
    Overrides {
        exec: vec![GuestCommand {
            guest: guest.to_owned(),
            command: command.to_owned(),
        }],
        ..Overrides::default()
    }
}

fn overlay(guest: Option<&str>, folder: PathBuf) -> Overrides {
    Overrides {
        overlays: vec![Overlay {
            guest: guest.map(str::to_owned),
            folder,
        }],
        ..Overrides::default()
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let description = parse(GUEST).unwrap();
    assert_eq!(description.machine.cpu, "cortex-a57");
    assert_eq!(description.machine.cpus, 2);
    assert_eq!(description.machine.memory, Size::mib(3072));
    assert_eq!(
        description.machine.optee,
        Optee::Source { flags: Vec::new() }
    );
    let guest = description.guest("vm1").unwrap();
    assert_eq!(guest.vcpu_cpus, [0]);
    assert_eq!(guest.tee, TeeChoice::Optee);
    assert_eq!(guest.tee_conduit, Conduit::Smc);
    assert_eq!(guest.limits, Limits::default());
    assert_eq!(
        guest.command_line,
        "console=ttyAMA0 panic=-1 bulkhead.name=vm1"
    );
    assert_eq!(
        guest.work,
        Work::Job("xtest 1004 1008 4001 6001".to_owned())
    );
    assert!(description.needs_debian());
}

#[test]
fn every_field_arrives() {
    let folder = Folder::new();
    folder
        .file("own/tee-header_v2.bin", b"h")
        .file("own/tee-pager_v2.bin", b"p")
        .file("own/tee-pageable_v2.bin", b"")
        .file("fw.bios", b"fw")
        .file("hv.elf", b"hv")
        .file("Image", &header(0, 1 << 20))
        .file("guest.cpio", b"070701");
    let description = folder
        .parse(
            r#"
            [machine]
            cpu = "max"
            cpus = 4
            memory = "2GiB"
            optee = "own"
            firmware = "fw.bios"
            hypervisor = "hv.elf"
            log-level = "debug"

            [[guest]]
            name = "vm-1"
            memory = "64MiB"
            vcpus = 2
            cpus = [3, 1]
            kernel = "Image"
            initramfs = "guest.cpio"
            command-line = "console=ttyAMA0"
            command-line-extra = "quiet"
            tee = "optee"
            tee-conduit = "hvc"
            [guest.limits]
            shm-buffer-max = "1MiB"
            shm-buffers-max = 7
            shm-total-max = "2MiB"
            tee-calls-per-second = 100
            "#,
        )
        .unwrap();
    let machine = &description.machine;
    assert_eq!((machine.cpu.as_str(), machine.cpus), ("max", 4));
    assert_eq!(machine.memory, Size::mib(2048));
    assert_eq!(machine.optee, Optee::Folder(folder.path("own")));
    assert_eq!(machine.firmware, Some(folder.path("fw.bios")));
    assert_eq!(machine.hypervisor, Some(folder.path("hv.elf")));
    assert_eq!(machine.log_level, Some(LogLevel::Debug));
    let guest = description.guest("vm-1").unwrap();
    assert_eq!(guest.vcpu_cpus, [3, 1]);
    assert_eq!(guest.kernel, Some(folder.path("Image")));
    assert_eq!(guest.initramfs, Some(folder.path("guest.cpio")));
    assert_eq!(guest.command_line, "console=ttyAMA0 quiet");
    assert_eq!(guest.tee_conduit, Conduit::Hvc);
    assert_eq!(guest.limits.shm_buffer_max, Some(Size::mib(1)));
    assert_eq!(guest.limits.shm_buffers_max, Some(7));
    assert_eq!(guest.limits.shm_total_max, Some(Size::mib(2)));
    assert_eq!(guest.limits.tee_calls_per_second, NonZeroU32::new(100));
    assert_eq!(guest.work, Work::OwnInitramfs);
    assert!(!description.needs_debian());
}

#[test]
fn vcpus_without_a_list_are_spread_over_the_cpus() {
    let text = r#"
        [machine]
        cpus = 3
        [[guest]]
        name = "a"
        memory = "256MiB"
        vcpus = 2
        [[guest]]
        name = "b"
        memory = "256MiB"
        vcpus = 2
    "#;
    let description = parse(text).unwrap();
    assert_eq!(description.guest("a").unwrap().vcpu_cpus, [0, 1]);
    assert_eq!(description.guest("b").unwrap().vcpu_cpus, [2, 0]);
}

#[test]
fn vcpus_may_share_a_cpu() {
    let description = parse(&guest_with("cpus = [1, 1]")).unwrap();
    assert_eq!(description.guest("vm1").unwrap().vcpu_cpus, [1, 1]);
}

#[test]
fn a_guest_without_a_tee_proves_it_unless_told_otherwise() {
    let description = parse(&guest_with("tee = \"none\"")).unwrap();
    assert_eq!(
        description.guest("vm1").unwrap().work,
        Work::Job("test ! -e /dev/tee0".to_owned())
    );
}

#[test]
fn the_configurations_of_the_project_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        Description::load(&entry.unwrap().path(), &Overrides::default()).unwrap();
        count += 1;
    }
    assert!(count >= 3, "only {count}");
}

#[test]
fn a_missing_file_is_refused() {
    let missing = Folder::new().path("none.toml");
    refused(
        Description::load(&missing, &Overrides::default()),
        "the file",
        "cannot be read",
    );
}

#[test]
fn wrong_toml_is_refused_with_its_line() {
    refused(parse("[machine]\ncpus = \n"), "line 2", "");
}

#[test]
fn an_unknown_field_is_refused() {
    refused(
        parse(&guest_with("memroy = \"1GiB\"")),
        "line 4",
        "unknown field `memroy`",
    );
    refused(
        parse("[machine]\ncores = 2"),
        "line 2",
        "unknown field `cores`",
    );
    refused(
        parse(&guest_with("[guest.limits]\nshm = 1")),
        "line 5",
        "unknown field `shm`",
    );
    refused(parse("[guests]\n"), "line 1", "unknown field `guests`");
}

#[test]
fn a_missing_field_is_refused() {
    refused(parse("[[guest]]\nname = \"vm1\""), "line 1", "`memory`");
    refused(parse("[[guest]]\nmemory = \"1GiB\""), "line 1", "`name`");
}

#[test]
fn an_unknown_choice_is_refused() {
    refused(parse(&guest_with("tee = \"trusty\"")), "line 4", "`trusty`");
    refused(
        parse(&guest_with("tee-conduit = \"svc\"")),
        "line 4",
        "`svc`",
    );
    refused(parse("[machine]\nlog-level = \"loud\""), "line 2", "`loud`");
}

#[test]
fn a_size_without_a_unit_is_refused() {
    refused(
        parse("[[guest]]\nname = \"vm1\"\nmemory = \"512\""),
        "line 3",
        "`512` is no size",
    );
}

#[test]
fn no_guest_is_refused() {
    refused(parse("[machine]\ncpus = 2"), "[[guest]]", "no guest");
}

#[test]
fn a_name_that_cannot_tag_a_line_is_refused() {
    for name in [
        "",
        "VM1",
        "vm 1",
        "vm|",
        "1vm",
        "-a",
        "vm_1",
        "vé",
        &"a".repeat(32),
    ] {
        let text = format!("[[guest]]\nname = {name:?}\nmemory = \"512MiB\"");
        refused(
            parse(&text),
            &format!("guest {name:?}: name"),
            "no name for a guest",
        );
    }
}

#[test]
fn names_that_stand_for_something_else_are_refused() {
    for name in RESERVED_NAMES {
        refused(
            parse(&format!(
                "[[guest]]\nname = \"{name}\"\nmemory = \"512MiB\""
            )),
            &format!("guest {name}: name"),
            "stands for something else",
        );
    }
}

#[test]
fn a_second_guest_of_the_same_name_is_refused() {
    refused(
        parse(&format!("{GUEST}{GUEST}")),
        "guest vm1: name",
        "same name",
    );
}

#[test]
fn cpus_that_optee_has_no_room_for_are_refused() {
    for cpus in [0, 5] {
        refused(
            parse(&format!("[machine]\ncpus = {cpus}\n{GUEST}")),
            "machine: cpus",
            "can't be built",
        );
    }
}

#[test]
fn more_vcpus_than_cpus_are_refused() {
    refused(
        parse(&guest_with("vcpus = 3")),
        "guest vm1: vcpus",
        "3 vCPUs are more than the 2 CPUs",
    );
    refused(
        parse(&guest_with("cpus = [0, 1, 0]")),
        "guest vm1: vcpus",
        "3 vCPUs are more than the 2 CPUs",
    );
}

#[test]
fn a_guest_without_a_vcpu_is_refused() {
    refused(
        parse(&guest_with("vcpus = 0")),
        "guest vm1: vcpus",
        "without a vCPU",
    );
    refused(
        parse(&guest_with("cpus = []")),
        "guest vm1: vcpus",
        "without a vCPU",
    );
}

#[test]
fn a_cpu_that_is_not_there_is_refused() {
    refused(
        parse(&guest_with("cpus = [2]")),
        "guest vm1: cpus",
        "there is no CPU 2",
    );
}

#[test]
fn a_list_of_cpus_of_another_length_is_refused() {
    refused(
        parse(&guest_with("vcpus = 2\ncpus = [0]")),
        "guest vm1: cpus",
        "names 1 CPU for 2 vCPUs",
    );
}

#[test]
fn a_cpu_model_that_is_no_word_is_refused() {
    refused(
        parse(&format!("[machine]\ncpu = \"cortex a57\"\n{GUEST}")),
        "machine: cpu",
        "no CPU model",
    );
}

#[test]
fn machine_memory_that_is_too_small_or_odd_is_refused() {
    for memory in ["512MiB", "1025MiB"] {
        refused(
            parse(&format!("[machine]\nmemory = \"{memory}\"\n{GUEST}")),
            "machine: memory",
            "multiple of 2 MiB",
        );
    }
}

#[test]
fn guest_memory_that_is_nothing_or_odd_is_refused() {
    for memory in ["0MiB", "513MiB"] {
        refused(
            parse(&format!("[[guest]]\nname = \"vm1\"\nmemory = \"{memory}\"")),
            "guest vm1: memory",
            "no multiple of 2 MiB",
        );
    }
}

#[test]
fn debian_s_images_in_too_little_memory_are_refused() {
    refused(
        parse("[[guest]]\nname = \"vm1\"\nmemory = \"64MiB\""),
        "guest vm1: memory",
        "do not fit",
    );
}

#[test]
fn guests_that_do_not_fit_the_machine_are_refused() {
    let text = "[machine]\nmemory = \"1GiB\"\n\
                [[guest]]\nname = \"a\"\nmemory = \"512MiB\"\n\
                [[guest]]\nname = \"b\"\nmemory = \"480MiB\"\n";
    refused(parse(text), "machine: memory", "the guests need 992 MiB");
    assert!(parse(&text.replace("480", "478")).is_ok());
}

#[test]
fn guests_whose_memory_overflows_are_refused() {
    let huge = "[[guest]]\nname = \"a\"\nmemory = \"17179869182GiB\"\n";
    let text = format!("{huge}{}", huge.replace("\"a\"", "\"b\""));
    refused(parse(&text), "machine: memory", "the guests need");
}

#[test]
fn a_kernel_that_does_not_fit_its_guest_is_refused() {
    let folder = Folder::new();
    folder.file("Image", &header(0, 513 << 20));
    refused(
        folder.parse(&guest_with("kernel = \"Image\"")),
        "guest vm1: kernel",
        "does not fit",
    );
}

#[test]
fn an_initramfs_that_does_not_fit_beside_the_kernel_is_refused() {
    let folder = Folder::new();
    folder
        .file("Image", &header(0, 6 << 20))
        .file("guest.cpio", &[0; 4096]);
    let text = |memory: &str| {
        format!(
            "[[guest]]\nname = \"vm1\"\nmemory = \"{memory}\"\nkernel = \"Image\"\ninitramfs = \"guest.cpio\""
        )
    };
    refused(
        folder.parse(&text("8MiB")),
        "guest vm1: initramfs",
        "does not fit",
    );
    assert!(folder.parse(&text("10MiB")).is_ok());
}

#[test]
fn a_file_that_is_no_kernel_is_refused() {
    let folder = Folder::new();
    folder.file("vmlinuz", &[0x1f, 0x8b, 8, 0]);
    refused(
        folder.parse(&guest_with("kernel = \"vmlinuz\"")),
        "guest vm1: kernel",
        "compressed (gzip)",
    );
}

#[test]
fn missing_files_are_refused() {
    for (field, place) in [
        ("kernel", "guest vm1: kernel"),
        ("initramfs", "guest vm1: initramfs"),
    ] {
        refused(
            parse(&guest_with(&format!("{field} = \"missing\""))),
            place,
            "No such file",
        );
    }
    for field in ["firmware", "hypervisor"] {
        refused(
            parse(&format!("[machine]\n{field} = \"missing\"\n{GUEST}")),
            &format!("machine: {field}"),
            "No such file",
        );
    }
}

#[test]
fn a_folder_or_an_empty_file_in_a_file_s_place_is_refused() {
    let folder = Folder::new();
    folder.file("empty", b"").file("folder/file", b"x");
    let refuse = |name: &str, problem: &str| {
        refused(
            folder.parse(&guest_with(&format!("initramfs = {name:?}"))),
            "guest vm1: initramfs",
            problem,
        );
    };
    refuse("empty", "is empty");
    refuse("folder", "is no file");
}

#[test]
fn a_command_line_that_linux_would_cut_is_refused() {
    let long = "x".repeat(2048);
    for value in [long.as_str(), "a\\nb", "a\\u0000b"] {
        refused(
            parse(&guest_with(&format!("command-line = \"{value}\""))),
            "guest vm1: command-line",
            "longer than 2047 bytes or has control characters",
        );
    }
}

#[test]
fn an_empty_job_is_refused() {
    refused(
        parse(&guest_with("job = \" \"")),
        "guest vm1: job",
        "no command",
    );
}

#[test]
fn exec_replaces_the_job() {
    let description = Folder::new()
        .with(&guest_with("job = \"true\""), &exec("vm1", "exit 7"))
        .unwrap();
    assert_eq!(
        description.guest("vm1").unwrap().work,
        Work::Job("exit 7".to_owned())
    );
}

#[test]
fn exec_of_an_unknown_guest_is_refused() {
    refused(
        Folder::new().with(GUEST, &exec("vm9", "true")),
        "--exec vm9",
        "no such guest",
    );
}

#[test]
fn a_second_exec_for_a_guest_is_refused() {
    let mut overrides = exec("vm1", "true");
    overrides.exec.extend(exec("vm1", "false").exec);
    refused(
        Folder::new().with(GUEST, &overrides),
        "--exec vm1",
        "one command",
    );
}

#[test]
fn an_empty_exec_is_refused() {
    refused(
        Folder::new().with(GUEST, &exec("vm1", "")),
        "--exec vm1",
        "no command",
    );
}

#[test]
fn a_job_or_exec_beside_an_own_initramfs_is_refused() {
    let folder = Folder::new();
    folder.file("guest.cpio", b"070701");
    let text = guest_with("initramfs = \"guest.cpio\"");
    refused(
        folder.with(&text, &exec("vm1", "true")),
        "--exec vm1",
        "used as it is",
    );
    refused(
        folder.parse(&format!("{text}job = \"true\"")),
        "guest vm1: job",
        "does what that initramfs does",
    );
}

#[test]
fn an_overlay_goes_to_the_guest_it_names_or_to_all() {
    let folder = Folder::new();
    let text = format!("{GUEST}{}", GUEST.replace("vm1", "vm2"));
    let overlaid = |guest| {
        let description = folder
            .with(&text, &overlay(guest, folder.path("")))
            .unwrap();
        let count = |name| description.guest(name).unwrap().overlays.len();
        (count("vm1"), count("vm2"))
    };
    assert_eq!(overlaid(Some("vm2")), (0, 1));
    assert_eq!(overlaid(None), (1, 1));
}

#[test]
fn an_own_initramfs_gets_only_the_overlay_that_names_its_guest() {
    let folder = Folder::new();
    folder.file("guest.cpio", b"070701");
    let own = guest_with("initramfs = \"guest.cpio\"");
    let named = folder
        .with(&own, &overlay(Some("vm1"), folder.path("")))
        .unwrap();
    assert_eq!(named.guest("vm1").unwrap().overlays.len(), 1);
    refused(
        folder.with(&own, &overlay(None, folder.path(""))),
        &format!("--overlay {}", folder.path("").display()),
        "used as it is",
    );
}

#[test]
fn an_overlay_that_is_no_folder_or_names_no_guest_is_refused() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    refused(
        folder.with(GUEST, &overlay(None, missing.clone())),
        &format!("--overlay {}", missing.display()),
        "no such folder",
    );
    refused(
        folder.with(GUEST, &overlay(Some("vm9"), folder.path(""))),
        &format!("--overlay {}", folder.path("").display()),
        "no guest vm9",
    );
}

#[test]
fn counting_instructions_on_several_cpus_is_refused() {
    let overrides = Overrides {
        icount: true,
        ..Overrides::default()
    };
    refused(Folder::new().with(GUEST, &overrides), "--icount", "has 2");
    let one = format!("[machine]\ncpus = 1\n{GUEST}");
    assert!(Folder::new().with(&one, &overrides).unwrap().machine.icount);
}

#[test]
fn the_cpu_model_of_the_command_line_wins() {
    let overrides = Overrides {
        cpu: Some("max".to_owned()),
        ..Overrides::default()
    };
    let text = format!("[machine]\ncpu = \"cortex-a72\"\n{GUEST}");
    assert_eq!(
        Folder::new().with(&text, &overrides).unwrap().machine.cpu,
        "max"
    );
}
