use serde::Serialize;
use siskin::machine::Tree;

/// CPUs of one kind.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Model {
    pub(super) name: String,
    /// How many there are, hardware threads counted.
    pub(super) count: usize,
}

/// The instruction-set features that kernels use or could use, as `/proc/cpuinfo` spells them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Features {
    pub(super) present: Vec<&'static str>,
    pub(super) missing: Vec<&'static str>,
}

const X86: [&str; 10] = [
    "ssse3",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
];
const ARM: [&str; 7] = ["asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"];

impl Features {
    /// Those of the first CPU; none, present or missing, where Linux does not tell them.
    pub(super) fn read(tree: &Tree) -> Self {
        let info = tree.text("proc/cpuinfo").unwrap_or_default();
        let of = |key| info.lines().find_map(|line| value(line, key));
        let (known, flags) = match (of("flags"), of("Features")) {
            (Some(flags), _) => (&X86[..], flags),
            (None, Some(flags)) => (&ARM[..], flags),
            (None, None) => return Self::default(),
        };
        let has = |name: &&str| flags.split(' ').any(|flag| flag == *name);
        let (present, missing) = known.iter().copied().partition(has);
        Self { present, missing }
    }
}

/// The name of the board or the computer, from the device tree or from the firmware.
pub(super) fn machine(tree: &Tree) -> Option<String> {
    let name = tree
        .text("sys/firmware/devicetree/base/model")
        .or_else(|| tree.text("sys/class/dmi/id/product_name"))?;
    // A device tree's texts end in a zero byte.
    Some(name.trim_end_matches('\0').to_owned()).filter(|name| !name.is_empty())
}

/// The kinds of CPUs, in the order in which they come first.
pub(super) fn models(tree: &Tree) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for cpu in tree.text("proc/cpuinfo").unwrap_or_default().split("\n\n") {
        let Some(name) = name(cpu) else { continue };
        match models.iter_mut().find(|model| model.name == name) {
            Some(model) => model.count += 1,
            None => models.push(Model { name, count: 1 }),
        }
    }
    models
}

/// The name in one CPU's part of `/proc/cpuinfo`: said on x86, numbers on ARM.
fn name(cpu: &str) -> Option<String> {
    let of = |key| cpu.lines().find_map(|line| value(line, key));
    of("processor")?;
    if let Some(name) = of("model name") {
        return Some(name.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let (implementer, part) = (of("CPU implementer")?, of("CPU part")?);
    Some(match arm(implementer, part) {
        Some(name) => name.to_owned(),
        None => format!("ARM implementer {implementer} part {part}"),
    })
}

/// The cores of boards and phones, by the numbers in their main ID register, as Arm's manuals give them.
fn arm(implementer: &str, part: &str) -> Option<&'static str> {
    if implementer != "0x41" {
        return None;
    }
    Some(match part {
        "0xd02" => "Cortex-A34",
        "0xd03" => "Cortex-A53",
        "0xd04" => "Cortex-A35",
        "0xd05" => "Cortex-A55",
        "0xd07" => "Cortex-A57",
        "0xd08" => "Cortex-A72",
        "0xd09" => "Cortex-A73",
        "0xd0a" => "Cortex-A75",
        "0xd0b" => "Cortex-A76",
        "0xd0c" => "Neoverse-N1",
        "0xd0d" => "Cortex-A77",
        "0xd40" => "Neoverse-V1",
        "0xd41" => "Cortex-A78",
        "0xd44" => "Cortex-X1",
        "0xd46" => "Cortex-A510",
        "0xd47" => "Cortex-A710",
        "0xd48" => "Cortex-X2",
        "0xd49" => "Neoverse-N2",
        "0xd4d" => "Cortex-A715",
        "0xd4e" => "Cortex-X3",
        "0xd4f" => "Neoverse-V2",
        "0xd80" => "Cortex-A520",
        "0xd81" => "Cortex-A720",
        "0xd82" => "Cortex-X4",
        _ => return None,
    })
}

/// What follows the colon of a line that begins with this key.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    Some(line.strip_prefix(key)?.trim_start().strip_prefix(':')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::fake::Fake;

    fn arm_cpu(number: usize, part: &str) -> String {
        format!(
            "processor\t: {number}\nFeatures\t: fp asimd crc32 asimdhp asimddp\n\
             CPU implementer\t: 0x41\nCPU part\t: {part}\n\n"
        )
    }

    #[test]
    fn arm_cores_are_named_by_their_numbers() {
        let parts = ["0xd05", "0xd05", "0xd0b", "0xfff"];
        let info: String = parts.iter().enumerate().map(|(cpu, part)| arm_cpu(cpu, part)).collect();
        let board = Fake::new(&[
            ("proc/cpuinfo", &format!("{info}Revision\t: c03111\nModel\t: A Board\n")),
            ("sys/firmware/devicetree/base/model", "A Board Rev 1.1\0"),
        ]);
        let model = |name: &str, count| Model { name: name.into(), count };
        let expected =
            [model("Cortex-A55", 2), model("Cortex-A76", 1), model("ARM implementer 0x41 part 0xfff", 1)];
        assert_eq!(models(&board.tree()), expected);
        assert_eq!(machine(&board.tree()).as_deref(), Some("A Board Rev 1.1"));
        let features = Features::read(&board.tree());
        assert_eq!(features.present, ["asimd", "asimdhp", "asimddp"]);
        assert_eq!(features.missing, ["i8mm", "bf16", "sve", "sve2"]);
    }

    #[test]
    fn x86_tells_its_name() {
        let cpu = |number| {
            format!(
                "processor\t: {number}\nmodel name\t: A  CPU @ 2 GHz\nflags\t\t: fpu avx2 fma f16c\nbugs\t:\n\n"
            )
        };
        let computer = Fake::new(&[("proc/cpuinfo", &[cpu(0), cpu(1)].concat())]);
        assert_eq!(models(&computer.tree()), [Model { name: "A CPU @ 2 GHz".into(), count: 2 }]);
        assert_eq!(Features::read(&computer.tree()).present, ["avx2", "fma", "f16c"]);
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        let none = Fake::new(&[("proc/cpuinfo", "processor\t: 0\n")]);
        assert!(models(&none.tree()).is_empty());
        assert_eq!(Features::read(&none.tree()), Features::default());
        assert_eq!(machine(&none.tree()), None);
    }
}
